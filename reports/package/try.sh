#!/usr/bin/env bash
# Tries a Debian package as a new user does: it is installed into a fresh root that has nothing but
# what every Debian has, a small experiment is run there, and it is removed again:
#
#     reports/package/try.sh PACKAGE.deb
#
# Whatever goes wrong, or is left behind, fails. It needs root, mmdebstrap and a mirror of Debian;
# with lintian installed, its errors fail as well. What is mounted and started ends with it.
set -euo pipefail
package=$(realpath "$1")
name=$(dpkg-deb --field "$package" Package)

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT
mmdebstrap --quiet --variant=essential "$suite" "$root" &
made=$!
# It reads for as long as the root is being made.
if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error --info "$package" || { wait "$made"; exit 1; }
else
    echo "try.sh: lintian is not installed, and was not asked"
fi
wait "$made"
cp "$package" "$root/package.deb"

cat > "$root/try" <<'END'
set -eu
name=$1
files() { find / -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /tmp \) -prune -o -print | sort; }
processes() { ls /proc | grep -c '^[0-9]'; }
cd /tmp
files > before
n_before=$(processes)
begun=$(date +%s)
dpkg --install /package.deb
n_after=$(processes)
[ "$n_after" -eq "$n_before" ] || { echo "something was started"; exit 1; }
for program in comet-server floodtest msggen memlog rig; do
    command -v $program
    $program --version
    test -s /usr/share/man/man1/$program.1.gz
    bash -n /usr/share/bash-completion/completions/$program
done
test -s /usr/share/doc/$name/copyright
test -s /usr/share/doc/$name/NOTICES.gz
# Nobody has to be root to use it.
mkdir home
chown nobody home
chroot --userspec nobody:nogroup / sh -c '
    cd /tmp/home
    rig c10k --minutes 0.05 --connections 500 --messages-per-second 100 --out run
    test -s run/report.html'
echo "try.sh: from the package to the first report: $(($(date +%s) - begun)) s"
dpkg --purge "$name"
files > after
diff before after
END
# A process group of its own, whose end ends all that was started and takes its mounts along.
unshare --mount --pid --fork --kill-child bash -euc '
    mount -t proc proc "$1/proc"
    exec chroot "$1" bash /try "$2"' try "$root" "$name"
echo "try.sh: $name was installed, run and removed, and left nothing behind"
