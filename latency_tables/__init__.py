"""What a layer costs on a device. Rooms, in reading order: table, benchmark, fitting, published."""
