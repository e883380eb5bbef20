"""The pictures: drawn here, rendered, or read from files; with ground truth where there is one."""
