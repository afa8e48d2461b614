"""AVIF and HEIC: still images in ISO base media files (ISO/IEC 23008-12), read with shared modules."""
