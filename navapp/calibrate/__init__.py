"""The commands `navapp calibrate ...` and `navapp register`."""
