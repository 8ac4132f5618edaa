#!/bin/sh
# The page is tested in a real browser.  This installs Debian's Chromium where there is none and
# where that can be done, and says so where it cannot: then those tests are skipped.
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium
}

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium, for the tests of the page."
    { install || { apt-get update && install; }; } >/dev/null 2>&1 </dev/null
fi
command -v chromium >/dev/null ||
    echo "No Chromium: the tests of the page are skipped. Install it (apt install chromium)." >&2
exit 0
