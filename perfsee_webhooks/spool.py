"""Verified requests on the disk while the database is away.

Perfsee takes a 503 as final. So a request that the database does not take is written into the
folder `SPOOL_DIR` and answered 204, and `drain` stores it once the database is back. A file with
the name that is read is whole: it is written under another one, brought to the disk, and then
linked. What a process leaves half-written was never acknowledged; it stays to be looked at.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from django.db import Error as DatabaseFailure
from django.db import router, transaction

from .conf import webhook_settings
from .envelope import Envelope
from .exceptions import DeliveryConflict, NotStored, RequestRefused, SameBody
from .log import ids, ids_of
from .models import Delivery, Rejection
from .outage import AWAY

logger = logging.getLogger(__name__)

_WHOLE: Final = ".delivery"
_PART: Final = ".part"
_MODE: Final = 0o600


class SpoolDamaged(Exception):
    """A file of the spool that is not what was written; the message says why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A request in the spool: its file, which is there until it is stored."""

    path: Path

    def read(self) -> Envelope:
        """Return the request.

        Raises:
            SpoolDamaged: it is not what was written.
            OSError: it could not be read.
        """
        line, _, body = self.path.read_bytes().partition(b"\n")
        try:
            told = json.loads(line)
            envelope = Envelope.read(body, told["headers"], told["verified_by"])
            received_at = datetime.fromisoformat(told["received_at"])
            digest = told["body_sha256"]
        except (ValueError, LookupError, TypeError, RequestRefused) as error:
            raise SpoolDamaged(self.path, f"it cannot be read, {error!r}.") from error
        if envelope.body_sha256 != digest:
            raise SpoolDamaged(self.path, "it has another body than was written.")
        return replace(envelope, received_at=received_at)

    def remove(self, stored: Envelope) -> None:
        """Remove the file, once its request is stored.

        If another process was quicker, its name may be that of a newer one with another body.
        """
        with suppress(FileNotFoundError):
            if self.read().body_sha256 == stored.body_sha256:
                self.path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """A folder of verified requests, one file each, bounded in number and bytes."""

    folder: Path
    max_files: int
    max_bytes: int

    @classmethod
    def of_site(cls) -> Self | None:
        """Return the spool that the site has set, None for none."""
        folder = webhook_settings.spool_dir
        if folder is None:
            return None
        return cls(
            folder=folder,
            max_files=webhook_settings.spool_max_files,
            max_bytes=webhook_settings.spool_max_bytes,
        )

    def keep(self, envelope: Envelope) -> None:
        """Bring a request to the disk; the same one again changes nothing.

        Raises:
            DeliveryConflict: its id is in the spool with another body.
            NotStored: the spool is full, or the disk did not take it.
        """
        try:
            self._require_room(len(envelope.body))
            with self._written(envelope) as part:
                self._link(part, envelope)
            _sync_folder(self.folder)
        except (OSError, SpoolDamaged) as error:
            raise NotStored("The delivery could not be stored, nor kept on the disk.") from error

    def waiting(self) -> list[Spooled]:
        """Return the whole requests, the first to come first. Raises OSError."""
        found = sorted((about.st_mtime_ns, path) for path, about in self._files(_WHOLE))
        return [Spooled(path=Path(path)) for _, path in found]

    def parts(self) -> list[Path]:
        """Return what is being written just now, or was when its process died. Raises OSError."""
        return sorted(Path(path) for path, _ in self._files(_PART))

    def _files(self, suffix: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the files of a kind, with what the disk says of each."""
        if not self.folder.exists():
            return
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    with suppress(FileNotFoundError):  # it has just been stored, or linked
                        yield entry.path, entry.stat()

    def _require_room(self, size: int) -> None:
        sizes = [about.st_size for _, about in self._files("")]
        if len(sizes) >= self.max_files or sum(sizes) + size > self.max_bytes:
            raise NotStored("The delivery could not be stored, and the spool is full.")

    @contextmanager
    def _written(self, envelope: Envelope) -> Iterator[Path]:
        """Write a part and bring it to the disk; it is gone afterwards, unless the process dies."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.folder / (secrets.token_hex(16) + _PART)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_head_of(envelope) + b"\n" + envelope.body)
                file.flush()
                os.fsync(file.fileno())
            # By this time they are stored in the order in which they came.
            moment = int(envelope.received_at.timestamp() * 1_000_000_000)
            os.utime(part, ns=(moment, moment))
            yield part
        finally:
            part.unlink()

    def _link(self, part: Path, envelope: Envelope) -> None:
        """Give a part the one name that its delivery id has here."""
        # A hash, since the id is a stranger's and may be anything that a path must not be.
        path = self.folder / (hashlib.sha256(envelope.delivery_id.encode()).hexdigest() + _WHOLE)
        try:
            os.link(part, path)
        except FileExistsError:
            try:
                known = Spooled(path=path).read()
            except FileNotFoundError:  # it has just been stored
                os.link(part, path)
            else:
                if known.body_sha256 != envelope.body_sha256:
                    raise DeliveryConflict(
                        "This delivery id waits to be stored with another body: the first one is "
                        "kept."
                    ) from None


def _head_of(envelope: Envelope) -> bytes:
    told: dict[str, Any] = {
        "headers": dict(envelope.headers),
        "verified_by": envelope.verified_by,
        "received_at": envelope.received_at.isoformat(),
        "body_sha256": envelope.body_sha256,
    }
    return json.dumps(told).encode()


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can open a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How many requests of the spool were stored, and how many could not be."""

    stored: int
    left: int


def drain(spool: Spool) -> Drained:
    """Store what lies in the spool, the first to come first.

    A file goes once its request is committed, and one that is read twice is stored once: it is
    safe to run several at once, inside a transaction too, and to be killed at any moment. What
    cannot be read, or what the database refuses, is left and logged. A request whose id has come
    with another body meanwhile is kept as a rejection, as is one whose body has come under another
    id where `REFUSE_SAME_BODY` is set.

    Raises:
        DatabaseError: the database is still away; what is left is for the next time.
        OSError: the folder could not be read.
    """
    stored = left = 0
    database = router.db_for_write(Delivery)
    for spooled in spool.waiting():
        try:
            envelope = spooled.read()
        except FileNotFoundError:  # another process was quicker
            continue
        except (SpoolDamaged, OSError) as error:
            left += 1
            path = str(spooled.path)
            logger.error("A file of the spool cannot be read: %s", error, extra=ids(path=path))
            continue
        try:
            stored += _store(envelope)
        except AWAY:
            raise
        except DatabaseFailure:
            left += 1
            logger.exception(
                "Delivery %s cannot be stored from the spool.",
                envelope.delivery_id,
                extra=ids_of(envelope, path=str(spooled.path)),
            )
        else:
            transaction.on_commit(partial(spooled.remove, envelope), using=database)
    return Drained(stored=stored, left=left)


def _store(envelope: Envelope) -> bool:
    """Store a request as it would have been when it came; False if it is no new delivery."""
    try:
        primary_key = Delivery.objects.receive(envelope)
    except (DeliveryConflict, SameBody) as refusal:
        Rejection.objects.keep(refusal, dict(envelope.headers), envelope.body, envelope.verified_by)
        return False
    if primary_key is None:
        return False
    Delivery.objects.filter(pk=primary_key).leave_to_the_sweep()
    logger.info(
        "Delivery %s was stored from the spool.",
        envelope.delivery_id,
        extra=ids_of(envelope, delivery_pk=primary_key),
    )
    return True
