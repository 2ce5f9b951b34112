"""Numbers of the authors' codes of VR-Net, AVSM and RWCNet, and inputs that regenerate."""
