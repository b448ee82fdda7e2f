// Lets the program link Debian's RocksDB instead of the bundled one (see ../build.rs).
//
// The Rust binding names one function of the bundled library that Debian's does not have: it ends a
// write buffer manager. Debian's C interface cannot make one, so nothing can ever call this.

#if !__has_include(<rocksdb/version.h>)
#error "RocksDB 7.8 is missing: apt-get install librocksdb-dev (Debian 12); or set ROCKSDB_COMPILE=1 to build the bundled one"
#else
#include <rocksdb/version.h>
#if ROCKSDB_MAJOR != 7 || ROCKSDB_MINOR != 8
#error "only RocksDB 7.8 (Debian 12) was compared with the binding: set ROCKSDB_COMPILE=1 to build the bundled one"
#endif
#endif

#include <cstdlib>

extern "C" void rocksdb_write_buffer_manager_destroy(void *) { std::abort(); }
