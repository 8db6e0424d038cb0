"""The scheduler's side of the network: commands repeated until answered, attempts followed, nodes watched.

It means what ``dispatch``, ``attempt_streams``, ``node_connections`` and ``fleet_server`` mean, in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lossy_network import Answer, LostError, Network, Stream
from lossy_node import LossyNode, RunEnd, finished
from lossy_time import VirtualTime

from maestro.errors import InvalidInputError, MaestroError, NotFoundError, OverloadedError
from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro_node.core.replica import ReplicaKey
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do

WATCH_RETRY_S = 0.25
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 2.0

Serve = Callable[[LossyNode, Answer], None]


@dataclass(eq=False)
class Connection:
    """The way to one instance of a node. ``heard``: its status stream is alive at this moment."""

    node: str
    instance_id: str
    address: str
    silent_since_s: float
    heard: bool = False
    told: bool = False
    stream: Stream | None = None


@dataclass(eq=False)
class Following:
    """An attempt that is followed, until it has ended or is left."""

    node: str
    key: StageKey
    attempt_id: str
    delay_s: float = FIRST_RETRY_S


class LossyDispatch:
    """Carries effects out on the nodes, and posts what comes of it."""

    def __init__(
        self, epoch: int, network: Network, time: VirtualTime, post: Callable[[on.Event], None], patience_s: float
    ) -> None:
        self.closed = False
        self._epoch = epoch
        self._network = network
        self._time = time
        self._post = post
        self._patience_s = patience_s
        self._connections: dict[str, Connection] = {}
        self._followed: dict[str, Following] = {}

    def close(self) -> None:
        """Its process is gone."""
        self.closed = True
        for name in list(self._connections):
            self._disconnect(name)

    def connect(self, node: str, instance_id: str, address: str) -> None:
        """Takes commands for a node to an address from now on, and asks for its whole status."""
        present = self._connections.get(node)
        if present is None or (present.instance_id, present.address) != (instance_id, address):
            self._disconnect(node)
            present = self._connections[node] = Connection(node, instance_id, address, self._time.now)
        self._watch(present)

    def hears_another(self, node: str, instance_id: str) -> bool:
        """Whether another instance of the node is there and talking to us."""
        present = self._connections.get(node)
        return present is not None and present.heard and present.instance_id != instance_id

    def carry_out(self, effect: do.Effect) -> None:
        """Begins what the effect asks for."""
        match effect:
            case do.ExecuteAttempt():
                self._execute(effect)
            case do.FollowAttempt():
                if effect.attempt_id not in self._followed:
                    self._reattach(self._follow(effect.node, effect.key, effect.attempt_id))
            case do.CancelAttempt():
                self._followed.pop(effect.attempt_id, None)
                self._cancel(effect)
            case do.AcknowledgeAttempts():
                self._tell(effect.node, lambda node, answer: node.acknowledge(self._epoch, effect.attempt_ids, answer))
            case do.LoadReplica():
                key = ReplicaKey(effect.accelerator, effect.model, effect.generation)
                pool_bytes, peers = effect.kv_pool_bytes, effect.peers
                self._command(effect, lambda node, answer: node.load(self._epoch, key, pool_bytes, peers, answer))
            case do.UnloadReplica():
                key = ReplicaKey(effect.accelerator, effect.model, effect.generation)
                self._command(effect, lambda node, answer: node.unload(self._epoch, key, answer))
            case do.ForgetNode():
                self._followed = {name: f for name, f in self._followed.items() if f.node != effect.node}
                self._disconnect(effect.node)

    def _call(self, connection: Connection, serve: Serve, done: Answer) -> None:
        """One call. What is lost is lost with its connection, and so is the status stream, which is on the same one."""

        def answered(value: object) -> None:
            if isinstance(value, LostError) and connection.stream is not None:
                connection.stream.snap()
            if not self.closed:
                done(value)

        self._network.call(connection.address, serve, answered)

    def _later(self, delay_s: float, what: Callable[[], None]) -> None:
        self._time.later(delay_s, lambda: None if self.closed else what())

    def _disconnect(self, node: str) -> None:
        present = self._connections.pop(node, None)
        if present is not None and present.stream is not None:
            present.stream.leave()

    def _command(self, effect: do.LoadReplica | do.UnloadReplica, serve: Serve) -> None:
        """Sends a replica command until this instance of the node has answered."""
        connection = self._connections.get(effect.node)
        replica = (effect.accelerator, effect.model, effect.generation)

        def send(delay_s: float) -> None:
            if connection is not None and self._connections.get(effect.node) is connection:
                self._call(connection, serve, lambda value: answered(value, delay_s))

        def answered(value: object, delay_s: float) -> None:
            if isinstance(value, LostError):
                self._later(delay_s, lambda: send(min(LONGEST_RETRY_S, delay_s * 2)))
            elif isinstance(value, MaestroError):
                self._post(on.ReplicaCommandRefused(*replica))
            elif isinstance(effect, do.UnloadReplica):
                self._post(on.ReplicaUnloaded(*replica))

        send(FIRST_RETRY_S)

    def _tell(self, node: str, serve: Serve, done: Answer | None = None) -> None:
        """Sends a notice once."""
        connection = self._connections.get(node)
        if connection is not None:
            self._call(connection, serve, done or (lambda _: None))

    def _cancel(self, effect: do.CancelAttempt) -> None:
        """Stops an attempt. One that its node does not know is stopped as well."""

        def stopped(value: object) -> None:
            if isinstance(value, int | NotFoundError):
                self._post(on.AttemptStopped(effect.attempt_id, value if isinstance(value, int) else 0))
                self.carry_out(do.AcknowledgeAttempts(effect.node, (effect.attempt_id,)))

        self._tell(effect.node, lambda node, answer: node.cancel(self._epoch, effect.attempt_id, answer), stopped)

    def _follow(self, node: str, key: StageKey, attempt_id: str) -> Following:
        following = self._followed[attempt_id] = Following(node, key, attempt_id)
        return following

    def _execute(self, effect: do.ExecuteAttempt) -> None:
        following = self._follow(effect.node, effect.key, effect.attempt_id)
        connection = self._connections.get(effect.node)
        if connection is None:
            self._failed(following, Reason.NODE_LOST, retryable=True, refused=False)
            return
        serve: Serve = lambda node, answer: node.execute(self._epoch, effect, answer)  # noqa: E731 - typed
        self._call(connection, serve, lambda value: self._followed_to(following, value, sent=True))

    def _reattach(self, following: Following) -> None:
        """Tries again and again until the attempt ends, its node does not know it, or the node is forgotten."""
        connection = self._connections.get(following.node)
        if self._followed.get(following.attempt_id) is not following:
            return
        if connection is None:
            del self._followed[following.attempt_id]
            return
        serve: Serve = lambda node, answer: node.reattach(self._epoch, following.attempt_id, answer)  # noqa: E731
        self._call(connection, serve, lambda value: self._followed_to(following, value, sent=False))

    def _followed_to(self, following: Following, value: object, *, sent: bool) -> None:
        if self._followed.get(following.attempt_id) is not following:
            return
        match value:
            case RunEnd():
                del self._followed[following.attempt_id]
                self._post(finished(following.key, following.attempt_id, value))
            case MaestroError():
                reason, retryable = _refusal(value)
                self._failed(following, reason, retryable=retryable, refused=sent and retryable)
            case _ if sent:
                self._reattach(following)
            case _:
                self._later(following.delay_s, lambda: self._reattach(following))
                following.delay_s = min(LONGEST_RETRY_S, following.delay_s * 2)

    def _failed(self, following: Following, reason: Reason, *, retryable: bool, refused: bool) -> None:
        del self._followed[following.attempt_id]
        self._post(
            on.AttemptFailed(
                following.key, following.attempt_id, reason, "the node", retryable=retryable, refused=refused
            )
        )

    def _watch(self, connection: Connection) -> None:
        """Turns a node's status stream into events; says so when the node cannot be reached for too long."""
        if self.closed or self._connections.get(connection.node) is not connection:
            return
        if connection.stream is not None:
            connection.stream.leave()

        def take(report: on.NodeStatusReported) -> None:
            if report.instance_id == connection.instance_id:
                connection.heard, connection.told = True, False
            self._post(report)

        def broken() -> None:
            if not self.closed and connection.stream is stream:
                self._unheard(connection)

        stream = connection.stream = Stream(self._network, take, broken)
        self._network.stream(connection.address, lambda node, to: node.watch(to), stream)

    def _unheard(self, connection: Connection) -> None:
        if connection.heard:
            connection.heard, connection.silent_since_s = False, self._time.now
        if not connection.told and self._time.now - connection.silent_since_s > self._patience_s:
            connection.told = True
            self._post(on.NodeUnreachable(connection.node, connection.instance_id))
        self._later(WATCH_RETRY_S, lambda: self._watch(connection))


def _refusal(error: MaestroError) -> tuple[Reason, bool]:
    """What a node's typed error means, as ``node_wire`` reads its status code."""
    match error:
        case InvalidInputError():
            return Reason.ENGINE_REJECTED, False
        case NotFoundError():
            return Reason.NODE_LOST, True
        case OverloadedError():
            return Reason.MEMORY_EXCEEDED, True
        case _:
            return Reason.STALE_GENERATION, True
