"""A chat endpoint that annotates: how it is asked, paced and tried again."""
