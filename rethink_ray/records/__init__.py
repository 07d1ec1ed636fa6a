"""What happened in a study, as bytes and events: log, state, views, lock, store. No rule of it."""
