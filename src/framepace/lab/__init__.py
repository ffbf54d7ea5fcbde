"""The lab: runs cases within a time limit, here or in a fresh process."""
