"""The commands: arguments become values, values go through a door, and an exit code comes out."""
