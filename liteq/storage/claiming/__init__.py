"""Messages are leased: claims, limits and rates, pauses, and the workers that hold the leases."""
