"""What is written of a figure: JSON, a table, pictures, and one page of all figures."""
