"""Work on Ray, behind one interface: the only package that imports Ray."""
