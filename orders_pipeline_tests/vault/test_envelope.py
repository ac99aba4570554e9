"""A sealed record opens as it was, where it was, or not at all."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders_pipeline.vault.envelope import SealedRecord, open_sealed, record_context, seal, token_context
from orders_pipeline.vault.errors import VaultError, VaultIntegrityError, VaultKeyMissing
from orders_pipeline.vault.keys import WrappedKey
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.vault.conftest import CANARY

CONTEXT = record_context(account_id="A1", kind="shipping_details", subject_id="111-2")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LocalKeyring:
    return LocalKeyring(tmp_path_factory.mktemp("keys") / "keyring.json")


@given(plaintext=st.binary(max_size=4_000), context=st.dictionaries(st.text(), st.text(), max_size=4))
@settings(deadline=None)
def test_what_was_sealed_opens_to_the_same_bytes(keys: LocalKeyring, plaintext: bytes, context: dict[str, str]) -> None:
    shuffled = dict(reversed(list(context.items())))
    assert open_sealed(keys, seal(keys, plaintext, context), shuffled) == plaintext


@given(data=st.data(), field=st.sampled_from(["wrapped_key", "nonce", "ciphertext"]))
@settings(deadline=None, max_examples=300)
def test_a_record_with_any_bit_flipped_is_refused(keys: LocalKeyring, data: st.DataObject, field: str) -> None:
    sealed = seal(keys, CANARY, CONTEXT)
    content = bytearray(getattr(sealed, field))
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VaultIntegrityError):
        open_sealed(keys, _with(sealed, field, bytes(content)), CONTEXT)


@given(data=st.data(), field=st.sampled_from(["wrapped_key", "nonce", "ciphertext"]))
@settings(deadline=None)
def test_a_record_cut_short_is_refused(keys: LocalKeyring, data: st.DataObject, field: str) -> None:
    sealed = seal(keys, CANARY, CONTEXT)
    content: bytes = getattr(sealed, field)
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    with pytest.raises(VaultIntegrityError):
        open_sealed(keys, _with(sealed, field, cut), CONTEXT)


@given(
    context=st.fixed_dictionaries(
        {"seller_id": st.text(), "kind": st.text(), "subject_id": st.text()}, optional={"more": st.text()}
    ).filter(lambda context: context != CONTEXT)
)
@settings(deadline=None)
def test_a_record_read_as_anything_but_what_it_is_is_refused(keys: LocalKeyring, context: dict[str, str]) -> None:
    with pytest.raises(VaultIntegrityError):
        open_sealed(keys, seal(keys, CANARY, CONTEXT), context)


class _BlindKeys(LocalKeyring):
    """Wraps without looking at the context, so that what the record itself binds is seen."""

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> WrappedKey:
        return super().wrap(data_key, {})

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> bytes:
        return super().unwrap(wrapped, {})


@pytest.mark.parametrize("field", ["seller_id", "kind", "subject_id"])
def test_the_record_and_its_wrapped_key_are_each_bound_to_the_order(keys: LocalKeyring, field: str) -> None:
    other = CONTEXT | {field: "another"}
    wrapped = keys.wrap(bytes(32), CONTEXT)
    with pytest.raises(VaultIntegrityError):
        keys.unwrap(wrapped, other)
    blind = _BlindKeys(keys.path)
    sealed = seal(blind, CANARY, CONTEXT)
    assert open_sealed(blind, sealed, CONTEXT) == CANARY
    with pytest.raises(VaultIntegrityError):
        open_sealed(blind, sealed, other)


def test_neither_half_of_a_record_is_exchanged_with_another_orders(keys: LocalKeyring) -> None:
    other_context = CONTEXT | {"subject_id": "111-3"}
    one, other = seal(keys, CANARY, CONTEXT), seal(keys, b"another buyer", other_context)
    same_order = seal(keys, b"an earlier version", CONTEXT)
    for foreign in (other, same_order):
        with pytest.raises(VaultIntegrityError):
            open_sealed(keys, replace(one, wrapped_key=foreign.wrapped_key), CONTEXT)
        with pytest.raises(VaultIntegrityError):
            open_sealed(keys, replace(one, ciphertext=foreign.ciphertext, nonce=foreign.nonce), CONTEXT)


def test_a_record_of_an_unknown_format_or_key_is_refused(keys: LocalKeyring, tmp_path: Path) -> None:
    sealed = seal(keys, CANARY, CONTEXT)
    with pytest.raises(VaultIntegrityError):
        open_sealed(keys, replace(sealed, version=2), CONTEXT)
    with pytest.raises(VaultKeyMissing):
        open_sealed(LocalKeyring(tmp_path / "another.json"), sealed, CONTEXT)


def test_the_name_of_the_wrapping_key_cannot_be_exchanged(keys: LocalKeyring) -> None:
    sealed = seal(keys, CANARY, CONTEXT)
    keys.add_key()
    with pytest.raises(VaultIntegrityError):
        open_sealed(keys, replace(sealed, key_id=keys.current_key_id()), CONTEXT)


def test_two_seals_of_the_same_text_share_nothing(keys: LocalKeyring) -> None:
    one, other = seal(keys, CANARY, CONTEXT), seal(keys, CANARY, CONTEXT)
    assert one.nonce != other.nonce
    assert one.wrapped_key != other.wrapped_key
    assert one.ciphertext != other.ciphertext
    assert CANARY not in one.ciphertext + one.wrapped_key


def test_a_record_and_a_token_never_share_a_context() -> None:
    token = token_context(application_id="x", account_id="A1", purpose="shipping_details")
    assert set(token) != set(CONTEXT)


def test_neither_repr_nor_error_shows_what_was_sealed(keys: LocalKeyring) -> None:
    sealed = seal(keys, CANARY, CONTEXT)
    assert repr(sealed.ciphertext) not in repr(sealed)
    with pytest.raises(VaultError) as caught:
        open_sealed(keys, replace(sealed, nonce=bytes(12)), CONTEXT)
    shown = "".join(traceback.format_exception(caught.value))
    assert "Quillfeather" not in shown
    assert sealed.ciphertext.hex() not in shown


def _with(sealed: SealedRecord, field: str, content: bytes) -> SealedRecord:
    return replace(sealed, **{field: content})
