//! A resumable stream of packed token samples from text files.
