#!/usr/bin/env bash
# Makes a Debian package of all programs, with their manual pages, completions and notices:
#
#     reports/package/deb.sh [FOLDER]
#
# The package is put into FOLDER (target/debian if none is named), and its path is the last line
# of what is said. It needs cargo, dpkg-dev and binutils. The maintainer is who DEBFULLNAME and
# DEBEMAIL name, as for other tools of Debian, or else who made the commit that is packed. The
# package has no scripts: nothing is started, and no configuration is made.
#
#   PROFILE=release   the cargo profile of the programs; with `quick` it is there sooner, to be tried
set -euo pipefail
out=$(realpath -m "${1:-$(dirname "$0")/../../target/debian}")
cd "$(dirname "$0")/../.."

PROFILE=${PROFILE:-release}
name=comet-toolkit
programs=(comet-server floodtest msggen memlog rig)

# Of which commit the programs are: every program says it, and the version of the package has its
# time, so that a later commit is an upgrade. Outside git it is what the environment has, or unknown.
stamp= who='nobody known <nobody@example.org>' SOURCE_DATE_EPOCH=$(date +%s)
if git rev-parse --quiet --verify HEAD >/dev/null 2>&1; then
    COMET_COMMIT=$(git log -1 --format='%h of %cs')
    stamp=$(TZ=UTC git log -1 --date=format-local:%Y%m%d.%H%M%S --format=+git%cd.%h)
    git diff --quiet HEAD -- || { COMET_COMMIT+=' with changes'; stamp+=.changed; }
    who=$(git log -1 --format='%an <%ae>')
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
fi
[ -z "${DEBEMAIL:-}" ] || who="${DEBFULLNAME:-$DEBEMAIL} <$DEBEMAIL>"
export COMET_COMMIT SOURCE_DATE_EPOCH

# The same packages as for `cargo rig`. Where that had the same profile, and the same COMET_COMMIT in
# its environment, nothing is built again.
cargo build --profile "$PROFILE" --locked --workspace --bin rig --bin comet-server --bin floodtest \
    --bin msggen --bin memlog
built=${CARGO_TARGET_DIR:-target}/$PROFILE

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
doc=$root/usr/share/doc/$name
bash=$root/usr/share/bash-completion/completions
zsh=$root/usr/share/zsh/vendor-completions
fish=$root/usr/share/fish/vendor_completions.d
man=$root/usr/share/man/man1
mkdir -p "$root"/{DEBIAN,debian,usr/bin} "$doc" "$bash" "$zsh" "$fish" "$man"

for program in "${programs[@]}"; do
    # Without what only debuggers and profilers read: three quarters of the size.
    strip --strip-all -o "$root/usr/bin/$program" "$built/$program"
    "$built/$program" man --out "$man"
    "$built/$program" completions bash > "$bash/$program"
    "$built/$program" completions zsh > "$zsh/_$program"
    "$built/$program" completions fish > "$fish/$program.fish"
done

# Of the packages that nothing here is built from the licences are asked as well.
cargo fetch --locked --quiet --target x86_64-unknown-linux-gnu
cargo run --quiet --locked --package notices > "$doc/NOTICES"
# The standard library is in every program as well.
library=$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html
[ ! -e "$library" ] || cp "$library" "$doc/NOTICES-rust-library.html"
cp reports/docs/CHANGELOG.md "$doc"
{
    cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Comet toolkit
Comment: The programs contain code of other packages, under the licences that
 are in NOTICES.gz beside this file, and the standard library of Rust, whose
 licences are in NOTICES-rust-library.html.gz.

Files: *
Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE-MIT)
License: Expat or Apache-2.0

License: Expat
END
    sed -e '1,/^Copyright/d' LICENSE-MIT | sed -e '/./,$!d' -e 's/^$/./' -e 's/^/ /'
    cat <<END

License: Apache-2.0
 On Debian systems the text of this licence is in
 /usr/share/common-licenses/Apache-2.0.
END
} > "$doc/copyright"

version=$(cargo pkgid --package rig | sed 's/.*[#@]//')$stamp
cat > "$doc/changelog" <<END
$name ($version) unstable; urgency=medium

  * The programs as of commit ${COMET_COMMIT:-unknown}. CHANGELOG.md.gz beside
    this file says what is new for people who use them.

 -- $who  $(date --utc --rfc-email --date "@$SOURCE_DATE_EPOCH")
END
gzip --best --no-name "$doc"/{NOTICES*,CHANGELOG.md,changelog} "$man"/*
find "$root/usr" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
chmod 755 "$root"/usr/bin/*

# Which libraries of the system the programs need. What is asked wants to see a source package.
printf 'Source: %s\n\nPackage: %s\nArchitecture: any\n' "$name" "$name" > "$root/debian/control"
depends=$(cd "$root" && dpkg-shlibdeps -O usr/bin/* 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
rm -r "$root/debian"
[ -n "$depends" ] || { echo "deb.sh: dpkg-shlibdeps does not say what is needed" >&2; exit 2; }

architecture=$(dpkg --print-architecture)
cat > "$root/DEBIAN/control" <<END
Package: $name
Version: $version
Architecture: $architecture
Maintainer: $who
Installed-Size: $(du -sk "$root/usr" | cut -f 1)
Depends: $depends
Recommends: ca-certificates
Suggests: openssh-client, redis-server
Conflicts: rig
Section: net
Priority: optional
Description: push server, and load tools that judge every message
 A reference server for long-lived HTTP connections (Comet, server-sent
 events, WebSocket), and tools that measure any such server: floodtest holds
 connections and judges what arrives on them, msggen sends messages on
 schedule, memlog logs the memory of a server, and rig conducts a whole run
 and writes its report.
 .
 No service is started. The program rig has the name of one in the package
 rig (an identity generator), which therefore cannot be installed beside it.
END
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums)

mkdir -p "$out"
package=$out/${name}_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"
