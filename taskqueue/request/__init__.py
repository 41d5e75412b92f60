"""From a task to a result: the request, its handlers, the HTTP beneath."""
