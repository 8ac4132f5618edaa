"""What encoders need of the machine: devices, the cache, imports, a child process."""
