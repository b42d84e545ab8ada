"""The retail world: users, orders and products of a shop, and the tools of its service desk."""
