"""What runs inside a sandbox. It knows nothing of agentenv, for its source is sent there and agentenv is not."""
