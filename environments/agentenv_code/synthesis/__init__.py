"""Writing functions and programs: the conversation, and where its tasks come from."""
