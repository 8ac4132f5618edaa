"""Names under which storage, systems and programs keep their own things among people's pictures.

What lies there are thumbnails, deleted files, older states and caches: copies of pictures that
people have elsewhere, or took away.  None of it is hidden on purpose by its owner, so ``--hidden``
does not take it in.  Names are compared in any case, as Windows and macOS do.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

__all__ = ["find_in_bundle", "is_kept_by_program", "is_made_by_program", "is_plain_file"]


class _Row(NamedTuple):
    """Who keeps what, by name; ``*`` at an end stands for anything."""

    owner: str
    what: str
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


# One row for each owner.  Sources are the makers' own documents, and what users reported of
# similar programs: rclip#303, immich#12566, photoprism#287 and #4921, stash#5146.
_ROWS = (
    # -- storage -----------------------------------------------------------------------------
    _Row("Synology", "thumbnails and indexes beside each picture", ("@eaDir", ".@eaDir")),
    _Row("Synology", "deleted files, snapshots", ("#recycle", "#snapshot")),
    _Row("Synology Drive", "what is being synchronised", (".SynologyWorkingDirectory",)),
    _Row("QNAP", "thumbnails; .@__thumb, .@__qini and others", (".@__*", ".@upload_cache")),
    _Row("QNAP", "deleted files, snapshots", ("@Recycle", "@Recently-Snapshot")),
    _Row("Buffalo", "deleted files", ("trashbox",)),
    _Row("ReadyNAS", "deleted files", ("Recycle Bin",)),
    _Row("WD My Cloud", "thumbnails beside each picture", (".wdmc", ".wdcache")),
    _Row("Samba, Unraid", "deleted files; vfs_recycle", (".recycle", ".Recycle.Bin")),
    _Row("Samba, Windows shares", "earlier states; vfs_shadow_copy2", ("@GMT-*",)),
    _Row("NetApp, ZFS, Btrfs, snapper", "snapshots", (".snapshot", "~snapshot", ".snapshots")),
    _Row("ZFS", "snapshots, where snapdir is visible", (".zfs",)),
    # -- systems -----------------------------------------------------------------------------
    _Row("Windows", "deleted files", ("$RECYCLE.BIN", "RECYCLER", "RECYCLED")),
    _Row("Windows", "restore points, repairs", ("System Volume Information", "FOUND.0*")),
    _Row(
        "Windows",
        "of the Explorer",
        (),
        ("Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
    ),
    _Row("ext and others", "what fsck found", ("lost+found",)),
    _Row("Android", "what was repaired, thumbnails", ("LOST.DIR", ".thumbnails", ".thumb*")),
    _Row("Android", "deleted pictures, and such on their way", (), (".trashed-*", ".pending-*")),
    # the trash of freedesktop.org, macOS and galleries on phones
    _Row("freedesktop.org, macOS", "deleted files", (".Trash*", ".globalTrash")),
    _Row("macOS", "of the Finder and Spotlight", (".fseventsd", ".Spotlight-V100")),
    _Row("macOS", "older states", (".DocumentRevisions-V100", ".MobileBackups*")),
    _Row("macOS", "of its programs", (".TemporaryItems", "Temporary Items"), ("Icon\r",)),
    _Row("macOS", "its own data of a file, as a file (AppleDouble)", (), ("._*", ".DS_Store")),
    _Row("macOS", "the same in a ZIP archive", ("__MACOSX",)),
    _Row("netatalk", "the same on a server", (".AppleDouble", ".AppleDB", ".AppleDesktop")),
    _Row("netatalk", "deleted files", ("Network Trash Folder",)),
    # -- synchronisation ---------------------------------------------------------------------
    _Row("Dropbox", "what is being synchronised", (".dropbox.cache",)),
    _Row("Google Drive", "what is being synchronised", (".tmp.drivedownload", ".tmp.driveupload")),
    _Row("Syncthing, Resilio", "older states, deleted files", (".stversions", ".sync")),
    _Row("Nextcloud, ownCloud", "deleted files, versions", ("files_trashbin", "files_versions")),
    # its folder of previews is named after the installation, whose id begins with oc
    _Row("Nextcloud, ownCloud", "previews", ("appdata_oc*",)),
    # -- photo programs ----------------------------------------------------------------------
    _Row("Lightroom", "previews, also small ones to work on", ("*.lrdata", "*.lrcat-data")),
    _Row("iTunes, iPhoto", "thumbnails", ("iPod Photo Cache",)),
    _Row("digiKam", "deleted pictures", (".dtrash",)),
    _Row("GIMP, xv", "thumbnails", (".xvpics",)),
    _Row("PhotoPrism, LibrePhotos", "thumbnails", (".photoprism", "protected_media")),
    _Row("Jellyfin", "frames of films", ("*.trickplay",)),
    _Row("Jellyfin, Emby, Kodi", "portraits of actors", (".actors",)),
    _Row("Plex", "covers and frames of films", ("Plex Media Server",)),
    # -- programmers -------------------------------------------------------------------------
    _Row("version control", "", (".svn", ".hg", ".bzr")),
    _Row("programs under way", "pictures of others' pages", ("node_modules", "__pycache__")),
)


class _Bundle(NamedTuple):
    """A folder that a program keeps as a whole, and what in it are no originals."""

    name: str
    """Its whole name, or how it ends."""
    folders: frozenset[bytes]


_BUNDLES = (
    # Photos since 2015; originals lie in `originals`, before version 5 in `Masters`
    _Bundle(
        ".photoslibrary",
        frozenset(
            b"resources scopes database internal private external attachments"
            b" thumbnails previews plugins".split()
        ),
    ),
    # iPhoto's, and the same after it was taken over
    *(
        _Bundle(
            suffix,
            frozenset(
                {b"thumbnails", b"previews", b"data", b"data.noindex", b"resources", b"database"}
            ),
        )
        for suffix in (".photolibrary", ".migratedphotolibrary", ".aplibrary")
    ),
    # Capture One writes its folder beside the pictures
    _Bundle("captureone", frozenset({b"cache"})),
)
# Names that others may give as well, and the file in such a folder that tells whose it is.
_WITH = {
    # what Immich makes of pictures
    **dict.fromkeys((b"thumbs", b"encoded-video", b"profile", b"backups"), b".immich"),
    b".git": b"HEAD",
}


def _sort(names: Collection[str]) -> tuple[frozenset[bytes], tuple[bytes, ...], tuple[bytes, ...]]:
    """Names as they are, and what others begin and end with."""
    lowered = [name.lower().encode() for name in names]
    begins = tuple(name[:-1] for name in lowered if name.endswith(b"*"))
    ends = tuple(name[1:] for name in lowered if name.startswith(b"*"))
    return frozenset(name for name in lowered if b"*" not in name), begins, ends


_DOT = ord(".")
_FOLDERS, _FOLDERS_BEGIN, _FOLDERS_END = _sort([name for row in _ROWS for name in row.folders])
_FILES, _FILES_BEGIN, _ = _sort([name for row in _ROWS for name in row.files])


def is_plain_file(name: bytes) -> bool:
    """Whether a file of that name is neither hidden nor kept by anybody; asked of every file."""
    return name[0] != _DOT and name.lower() not in _FILES


def is_kept_by_program(name: bytes, is_folder: bool) -> bool:
    """Whether somebody's pictures are not to be looked for under that name."""
    lowered = name.lower()
    if not is_folder:
        return lowered in _FILES or lowered.startswith(_FILES_BEGIN)
    if lowered in _FOLDERS or lowered.startswith(_FOLDERS_BEGIN):
        return True
    return lowered.endswith(_FOLDERS_END)


def is_made_by_program(folder: bytes) -> bool:
    """Whether a folder is a program's by its name and a file in it."""
    mark = _WITH.get(os.path.basename(folder).lower())
    return mark is not None and os.path.lexists(os.path.join(folder, mark))


def find_in_bundle(name: bytes) -> frozenset[bytes]:
    """Names, in lower case, of what is no original in a folder of that name."""
    lowered = name.lower()
    for bundle in _BUNDLES:
        own = bundle.name.encode()
        if lowered == own or (own.startswith(b".") and lowered.endswith(own)):
            return bundle.folders
    return frozenset()
