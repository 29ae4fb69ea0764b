//! The library calls PostgreSQL, which is not here. No target reaches such a call; only the linker asks for the symbols.

fn main() {
    println!("cargo:rustc-link-arg=-Wl,--unresolved-symbols=ignore-all");
}
