"""A node that is somebody else's program: started, watched and ended by an attendant in the node's own namespace."""
