"""What runs on a board: the arrival (sent as text over SSH), then the agent, which holds nodes and their tunnels."""
