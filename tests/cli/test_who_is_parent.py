"""`lineage who-is-parent` as a person runs it: for models of the graph, of the Hub and of this disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import save, save_file

from tests.builders import start, three_generations, tune
from tests.cli.command import Command, command_at
from tests.cli.world import World, adapter, card
from tests.crawler.ggufs import Q, llama, write
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.slow

CONTRACT = {
    "model", "answer", "parent", "relation", "probability", "decided_by", "runners_up", "declared", "as_of",
}  # fmt: skip


def test_a_stored_model_is_answered_from_the_graph_alone(world: World) -> None:
    done = world.lineage("who-is-parent", "acme/b", "--json", HF_ENDPOINT="http://127.0.0.1:9")
    answer = done.json
    assert done.code == 0 and done.stderr == "" and answer.keys() >= CONTRACT
    assert (answer["model"], answer["answer"], answer["parent"]) == ("acme/b", "parent", "acme/a")
    assert answer["relation"] == "FINE_TUNED_FROM" and 0.8 <= answer["probability"] <= 1 and answer["decided_by"]
    assert answer["declared"][0]["base"] == "acme/a" and answer["declared_agrees"] == "agree"
    assert answer["stored"] is True and answer["as_of"]
    assert world.hub.counts() == {} or all(count.requests == 0 for count in world.hub.counts().values())


def test_the_text_says_the_answer_first_and_no_identity(world: World) -> None:
    done = world.lineage("who-is-parent", "ACME/B")
    first, *rest = done.stdout.splitlines()
    assert first.startswith("acme/b was fine-tuned from acme/a (probability ")
    assert [line.split("  ")[1].strip() for line in rest if line[2] != " "][-2:] == ["card says", "as of"]
    assert world.hub.repo("acme/a").hub_id not in done.stdout and max(map(len, rest)) <= 100


def test_a_root_is_an_answer(world: World) -> None:
    done = world.lineage("who-is-parent", "acme/a")
    assert done.code == 0 and done.stdout.startswith("acme/a is a root: no known model is its parent (probability ")
    found = world.lineage("who-is-parent", "acme/a", "--json").json
    assert found["answer"] == "root" and found["parent"] is None and found["relation"] is None


def test_copies_and_coarser_copies_have_their_own_words(world: World) -> None:
    assert world.lineage("who-is-parent", "acme/again").stdout.startswith("acme/again is a copy of acme/c")
    assert world.lineage("who-is-parent", "acme/half").stdout.startswith("acme/half was quantized from acme/d")


def test_a_card_that_lies_is_shown_beside_the_weights(own_world: World) -> None:
    own_world.hub.add_repo("liar/ca", {"README.md": card("stranger"), "model.safetensors": save(own_world.models["c"])})
    try:
        found = own_world.lineage("who-is-parent", "liar/ca", "--json").json
        assert found["parent"] == "acme/c" and found["relation"] == "COPY_OF"
        assert found["declared_agrees"] == "cannot tell", (
            "another architecture cannot be compared, so nobody is accused"
        )
        own_world.hub.commit("liar/ca", {"README.md": card("d")})
        found = own_world.lineage("who-is-parent", "liar/ca", "--json").json
        assert found["declared_agrees"] == "contradicts"
        own_world.hub.commit("liar/ca", {"README.md": card("a")})
        found = own_world.lineage("who-is-parent", "liar/ca", "--json").json
        assert found["declared_agrees"] == "agree", "a declared grandparent is no lie"
        assert "a declared" in found["declared_reason"] or "ancestor" in found["declared_reason"]
    finally:
        own_world.hub.delete("liar/ca")


def test_undecided_models_exit_with_3_and_name_the_candidates(own_world: World) -> None:
    own_world.lineage("detect", "--threshold", "0.999")
    question = "MATCH (m:Model) WHERE m.answer = 'undecided' RETURN m.repo_id AS name ORDER BY name"
    names = [row["name"] for row in own_world.lineage("cypher", question, "--json").json]
    assert names, "with such a threshold something is undecided"
    done = own_world.lineage("who-is-parent", names[0])
    assert done.code == 3 and done.stderr == ""
    assert done.stdout.startswith(f"{names[0]}: cannot tell its parent\n") and "\n  perhaps " in done.stdout
    found = own_world.lineage("who-is-parent", names[0], "--json").json
    assert found["answer"] == "undecided" and found["parent"] is None and found["runners_up"] and found["reason"]


def test_other_evidence_is_weighed_anew_from_the_stored_samples(world: World) -> None:
    done = world.lineage(
        "who-is-parent", "acme/b", "--no-declared", "--no-dates", "--json", HF_ENDPOINT="http://127.0.0.1:9"
    )
    assert done.json["stored"] is False and done.json["model"] == "acme/b"
    strict = world.lineage("who-is-parent", "acme/again", "--threshold", "0.99", "--json")
    assert strict.code == 0 and strict.json["parent"] == "acme/c"


def test_a_model_never_crawled_is_compared_with_those_of_its_architecture(own_world: World) -> None:
    hub, lineage = own_world.hub, own_world.lineage
    hub.add_repo("new/child", {"model.safetensors": save(own_world.models["c"])})
    try:
        done = lineage("who-is-parent", "new/child")
        assert done.code == 0 and done.stdout.startswith("new/child is a copy of ") and "not stored" in done.stdout
        assert lineage("ancestors", "new/child").code == 4, "nothing was kept"
        kept = lineage("who-is-parent", "new/child", "--store-it", "--json")
        assert kept.code == 0 and kept.json["stored"] is True
        hub.reset_counts()
        again = lineage("who-is-parent", "new/child", "--json")
        assert {**again.json, "as_of": None} == {**kept.json, "as_of": None}
        assert not hub.log(), "now the graph knows it"
        above = [row["repo_id"] for row in lineage("ancestors", "new/child", "--json").json]
        assert above[0] == kept.json["parent"]
        assert lineage("graph", "stats", "--json").json["SUPERSEDED"] == 0, "no other model's edges were touched"
    finally:
        hub.delete("new/child")


def test_a_model_of_an_unknown_architecture_is_not_known(own_world: World) -> None:
    own_world.hub.add_repo("new/odd", {"model.safetensors": save(start(5, {"odd.weight": (40, 24)}))})
    try:
        done = own_world.lineage("who-is-parent", "new/odd")
        assert done.code == 3 and "no other model of its backbone is known" in done.stdout.replace("\n", " ")
        assert own_world.lineage("who-is-parent", "new/odd", "--json").json["answer"] == "no_relatives"
    finally:
        own_world.hub.delete("new/odd")


def test_without_any_graph_there_is_still_an_answer(lineage: Command, world: World, tmp_path: Path) -> None:
    done = lineage("who-is-parent", "acme/b", "--json", HF_ENDPOINT=world.hub.url)
    assert done.code == 3 and done.json["answer"] == "no_relatives" and done.json["declared"]
    assert not (tmp_path / "store").exists(), "asking makes no store"


def test_local_folders_and_files(own_world: World) -> None:
    folder = own_world.home / "mine"
    folder.mkdir()
    (folder / "README.md").write_bytes(card("c"))
    save_file(own_world.models["c"], folder / "model.safetensors")
    for path in (folder, folder / "model.safetensors"):
        done = own_world.lineage("who-is-parent", path, "--json", HF_ENDPOINT="http://127.0.0.1:9")
        assert done.code == 0, done.stderr
        assert done.json["relation"] == "COPY_OF" and done.json["model"] == str(path) and not done.json["stored"]
    kept = own_world.lineage("who-is-parent", folder, "--store-it", "--json")
    assert kept.json["stored"] is True
    assert own_world.lineage("who-is-parent", folder, "--json").json["stored"] is True
    save_file(tune(own_world.models["d"], 77), folder / "model.safetensors")
    changed = own_world.lineage("who-is-parent", folder, "--json").json
    assert changed["stored"] is False and changed["relation"] != "COPY_OF", "other weights lie there now"


def test_an_adapter_is_answered_by_its_declaration_where_it_fits(own_world: World) -> None:
    done = own_world.lineage("who-is-parent", "acme/adapter", "--json")
    assert done.code == 0 and (done.json["parent"], done.json["relation"]) == ("acme/a", "ADAPTER_OF")
    assert "LoRA of rank 4" in done.json["reason"] and done.json["declared_agrees"] == "agree"
    assert "acme/a" in {claim["base"] for claim in done.json["declared"]}
    own_world.hub.add_repo("new/adapter", adapter())
    try:
        done = own_world.lineage("who-is-parent", "new/adapter")
        assert done.code == 0 and "new/adapter is an adapter of acme/a" in done.stdout
    finally:
        own_world.hub.delete("new/adapter")
    folder = own_world.home / "lora"
    folder.mkdir()
    for name, content in adapter().items():
        (folder / name).write_bytes(content)
    local = own_world.lineage("who-is-parent", folder, "--json")
    assert local.code == 0 and {claim["base"] for claim in local.json["declared"]} == {"acme/a"}


def test_a_revision_of_a_repository(own_world: World) -> None:
    hub, lineage = own_world.hub, own_world.lineage
    first = hub.add_repo("new/moving", {"model.safetensors": save(own_world.models["c"])}).head.sha
    try:
        assert lineage("who-is-parent", "new/moving", "--store-it").code == 0
        second = hub.commit("new/moving", {"model.safetensors": save(own_world.models["d"])})
        stored = lineage("who-is-parent", f"new/moving@{first[:10]}", "--json").json
        assert stored["stored"] is True and stored["revision"] == first
        now = lineage("who-is-parent", f"new/moving@{second}", "--json").json
        assert now["stored"] is False and now["revision"] == second and now["parent"] != stored["parent"]
        assert lineage("who-is-parent", "new/moving@main", "--json").json["revision"] == second
        refused = lineage("who-is-parent", f"new/moving@{second}", "--store-it")
        assert refused.code == 1 and "another revision of new/moving" in refused.stderr and refused.stdout == ""
        third = hub.commit("new/moving", {"model.safetensors": save(own_world.models["c"]), "x.txt": b"x"})
        same = lineage("who-is-parent", f"new/moving@{third}", "--json").json
        assert same["stored"] is True, "another commit with the same weights"
    finally:
        hub.delete("new/moving")


def test_a_renamed_repository_is_found_under_both_names(own_world: World) -> None:
    own_world.hub.add_repo("old/name", {"model.safetensors": save(own_world.models["c"])})
    assert own_world.lineage("who-is-parent", "old/name", "--store-it").code == 0
    own_world.hub.rename("old/name", "new/name")
    try:
        for name in ("old/name", "new/name"):
            done = own_world.lineage("who-is-parent", name, "--json")
            assert done.code == 0 and done.json["stored"] is True, name
    finally:
        own_world.hub.delete("new/name")


def test_what_was_crawled_but_not_yet_compared_needs_no_hub(world: World, lineage: Command) -> None:
    assert lineage("crawl", HF_ENDPOINT=world.hub.url).code == 0
    done = lineage("who-is-parent", "acme/again", "--json", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.code == 0 and done.json["parent"] == "acme/c" and done.json["stored"] is False


def test_a_lost_sample_is_read_again(own_world: World) -> None:
    shutil.rmtree(own_world.lineage.store / "sketches")
    done = own_world.lineage("who-is-parent", "acme/b", "--json")
    assert done.code == 0 and done.json["parent"] == "acme/a", "the graph needs no samples"
    live = own_world.lineage("who-is-parent", "acme/b", "--no-dates", "--json")
    assert live.code == 3 and live.json["answer"] == "no_relatives", "there is nothing left to compare with"


def test_a_gguf_file_under_names_that_nobody_translates_is_from_its_original_whether_crawled_or_looked_up(
    hub: FakeHub, lineage: Command, tmp_path: Path
) -> None:
    base = llama(1)
    hub.add_repo("acme/base", {"model.safetensors": save(base)})
    hub.add_repo("acme/stranger", {"model.safetensors": save(llama(2))})
    hub.add_repo("q/packed", {"m.gguf": write(tmp_path / "m.gguf", base, Q.Q8_0, architecture="phi3")})
    assert lineage("sync", "--author", "acme", HF_ENDPOINT=hub.url).code == 0
    live = lineage("who-is-parent", "q/packed", "--json", HF_ENDPOINT=hub.url).json
    assert lineage("sync", HF_ENDPOINT=hub.url).code == 0
    stored = lineage("who-is-parent", "q/packed", "--json", HF_ENDPOINT=hub.url).json
    assert (live["parent"], live["relation"]) == ("acme/base", "QUANTIZED_FROM"), live
    assert (stored["parent"], stored["relation"]) == ("acme/base", "QUANTIZED_FROM"), stored


def test_a_part_of_a_pipeline_has_a_parent_of_its_own(hub: FakeHub, lineage: Command) -> None:
    base, other = start(3), start(4)
    child = tune(base, 5)
    parts = {"unet/diffusion_pytorch_model.safetensors": save(child), "vae/model.safetensors": save(other)}
    hub.add_repo("acme/base", {"model.safetensors": save(base)})
    assert lineage("sync").code == 0
    hub.add_repo("acme/pipe", {"model_index.json": b"{}", **parts, "README.md": card("acme/base")})
    now = lineage("who-is-parent", "acme/pipe/unet", "--json").json
    assert now["model"] == "acme/pipe/unet" and now["stored"] is False
    assert "acme/base" in {now["parent"], *(c["parent"] for c in now["runners_up"])}
    assert lineage("sync").code == 0
    kept = lineage("who-is-parent", "acme/pipe/unet", "--json").json
    assert kept["stored"] is True and kept["model"] == "acme/pipe/unet"
    missing = lineage("who-is-parent", "acme/pipe/brain")
    assert missing.code == 4 and "its parts are" in missing.stderr


def test_a_gguf_file_is_the_quantized_copy_of_the_folder_it_was_made_from(offline: Command, tmp_path: Path) -> None:
    from tests.crawler.ggufs import Q, llama, write

    (tmp_path / "zoo" / "base").mkdir(parents=True)
    save_file(llama(), tmp_path / "zoo" / "base" / "model.safetensors")
    save_file(llama(7), tmp_path / "zoo" / "other.safetensors")
    write(tmp_path / "zoo" / "copy-Q8_0.gguf", llama(), Q.Q8_0)
    found = {
        e["child"]: (e["parent"], e["relation"]) for e in offline("scan", tmp_path / "zoo", "--json").json["edges"]
    }
    assert found == {"copy-Q8_0.gguf": ("base", "QUANTIZED_FROM")}
    assert offline("sync", "--folder", tmp_path / "zoo").code == 0
    answer = offline("who-is-parent", tmp_path / "zoo" / "copy-Q8_0.gguf", "--json").json
    assert (answer["parent"], answer["relation"]) == (str(tmp_path / "zoo" / "base"), "QUANTIZED_FROM")


def test_a_card_is_said_to_name_what_was_found_where_no_graph_compares_it(tmp_path: Path) -> None:
    models, _ = three_generations()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "models" / name).mkdir(parents=True)
        save_file(models[name], tmp_path / "models" / name / "model.safetensors")
    (tmp_path / "models" / "b" / "README.md").write_text("---\nbase_model: a\n---\n")
    done = command_at(tmp_path)("who-is-parent", tmp_path / "models" / "b", "--among", tmp_path / "models")
    assert "a; the parent that was found" in done.stdout or "a; one of the candidates" in done.stdout


def test_models_of_one_body_beside_each_other_are_called_by_their_names(offline: Command, tmp_path: Path) -> None:
    one = start(3)
    other = {name: values if values.ndim > 1 else values + 0.1 for name, values in one.items()}
    (tmp_path / "m").mkdir()
    for name, weights in (("one", one), ("other", other)):
        save_file(weights, tmp_path / "m" / f"{name}.safetensors")
    done = offline("who-is-parent", tmp_path / "m" / "one.safetensors", "--among", tmp_path / "m")
    assert "one and other are equal" in " ".join(done.stdout.split()) and "local:" not in done.stdout
