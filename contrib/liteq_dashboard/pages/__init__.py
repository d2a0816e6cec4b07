"""The pages, a file each: its functions `page(request, reader)`, and their lines of the route table as `ROUTES`."""
