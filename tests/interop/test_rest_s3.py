"""A REST catalog with its warehouse on S3: with keys of the user's own, and with none but those that the server lends."""

import pytest

from judge import snapshots
from profiles import COMMON
from s3 import EXPORTS, LAKE, S3Story
from served import S3Served, lent_only


@pytest.fixture
def serve(rest_classes, s3, tmp_path):
    made = []

    def start(lend=None):
        made.append(S3Served(rest_classes, s3, tmp_path / f"catalog {len(made)}", f"wäre house+{tmp_path.name} {len(made)}", lend))
        return made[-1]

    yield start
    s3.proxy.take_log()
    for one in made:
        one.close()


@pytest.fixture
def said(tool, monkeypatch):
    """All that the tool says while it says the most; also on failure."""
    texts, run = [], tool.run

    def loud(*arguments, **options):
        result = run(*arguments, "-vv", **options)
        texts.append(result.stdout + result.stderr)
        return result

    monkeypatch.setattr(tool, "run", loud)
    return texts


def test_load_and_five_windows_with_own_keys(s3, serve, tool, readers, seed):
    warehouse = serve()
    story = S3Story(COMMON, seed, tool, warehouse)
    story.load(150)
    for number in range(1, 6):
        story.apply(60)
    story.same(readers, "after five windows")
    assert len(snapshots(warehouse, "ns.t")) == 6
    assert s3.overwritten(LAKE, warehouse.prefix) == [] and s3.uploads() == []


def test_load_and_five_windows_with_lent_keys(s3, serve, said, tool, readers, seed):
    """Nobody has a key for the warehouse: each request is made with one that was lent for the table, and is still good."""
    warehouse = serve(lend=3600)
    story = S3Story(COMMON, seed, tool, warehouse)
    s3.proxy.take_log()
    s3.proxy.fault = lent_only
    story.load(150)
    story.same(readers, "after the load")
    for number in range(1, 6):
        story.apply(60)
    story.same(readers, "after five windows")
    log = s3.proxy.take_log()
    tokens = {one.token for one in log if one.bucket == LAKE}
    assert len(tokens) > 6 and None not in tokens, "the warehouse was reached with other keys than those lent"
    assert {one.token for one in log if one.bucket == EXPORTS} == {None}
    for text in said:
        assert not any(secret in text for secret in ("hush-", *tokens))
    assert s3.overwritten(LAKE, warehouse.prefix) == [] and s3.uploads() == []


def test_lent_keys_that_expire_are_asked_for_again(s3, serve, said, tool, readers, seed):
    """Keys that will soon expire are not used a second time, neither for a table that is only staged nor for one that is there."""
    warehouse = serve(lend=30)
    story = S3Story(COMMON, seed, tool, warehouse)
    s3.proxy.take_log()
    s3.proxy.fault = lent_only
    story.load(60)
    story.apply(40)
    log = [one for one in s3.proxy.take_log() if one.bucket == LAKE]
    assert len({one.token for one in log}) == len(log) > 10, "keys that had hardly any time left were used again"
    assert not any("hush-" in text for text in said)
    story.same(readers, "after a window")
