"""Tags that the pages of dashboard and admin share."""
