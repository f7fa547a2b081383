"""The models of the course, one file each: only what is different from the models before."""
