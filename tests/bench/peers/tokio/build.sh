#!/bin/sh
# Builds the crate against the libraries that Debian installed, offline.
#
#     build.sh CARGO RUSTC REGISTRY SOURCE-DIRECTORY WORK-DIRECTORY OUTPUT
#
# Cargo writes its lock file beside the manifest, and reads its settings from above the directory
# that it runs in: so it gets a copy of the crate, and a home, that are of this build alone.
set -eu
cargo=$1 rustc=$2 registry=$3 source=$4 work=$5 output=$6
mkdir -p "$work/.cargo" "$work/src"
cp "$source/Cargo.toml" "$work/"
cp "$source/src/main.rs" "$work/src/"
rm -f "$work/Cargo.lock" # of libraries that may have been replaced since
cat >"$work/.cargo/config.toml" <<END
[source.crates-io]
replace-with = "debian"
[source.debian]
directory = "$registry"
END
work=$(cd "$work" && pwd)
(cd "$work" && CARGO_HOME="$work/home" RUSTC="$rustc" CARGO_TARGET_DIR="$work/target" \
    RUSTFLAGS="" "$cargo" build --release --offline --quiet --jobs 1)
cp "$work/target/release/tokio" "$output"
