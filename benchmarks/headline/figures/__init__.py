"""What each figure is about: the policies it runs, the table it makes of them, and the pictures it draws."""
