"""What the site shows, one file per group of pages."""
