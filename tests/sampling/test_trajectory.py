"""What holds for every trajectory, whatever the task and the solver."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.sampling.extend import MAX_FRAMES
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.trajectory import State, Trajectory, noised
from tests.sampling.toy import TASKS, Recorder, extended, finish, noise_of, towards, toy

SOLVERS = ("euler", "heun", "pingpong")
CHOICES = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 9),
        "solver": st.sampled_from(SOLVERS),
        "guidance": st.sampled_from(("apg", "cfg", "cfg_star")),
        "guidance_scale": st.sampled_from((0.0, 1.0, 4.0)),
        "guidance_interval": st.floats(0, 1),
        "guidance_decay": st.floats(0, 1),
        "guidance_scale_text": st.sampled_from((0.0, 3.0)),
        "guidance_scale_lyric": st.sampled_from((0.0, 2.0)),
        "compatibility": st.sampled_from(("corrected", "upstream")),
    }
)


def states_of(trajectory: Trajectory) -> list[State]:
    states = [trajectory.start()]
    finish(trajectory, toy, states.append)
    return states


@pytest.mark.parametrize("task", TASKS)
@given(choices=CHOICES)
@settings(max_examples=30, deadline=None)
def test_a_saved_state_continues_to_the_same_bytes(task: str, choices: dict[str, Any]) -> None:
    trajectory = TASKS[task](SamplerOptions.model_validate(choices))
    states = states_of(trajectory)
    saved = states[len(states) // 2].save()
    again = TASKS[task](SamplerOptions.model_validate(choices))  # another process makes the plan anew
    assert finish(again, toy, state=State.load(saved)).save() == states[-1].save()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("task", TASKS)
def test_any_state_can_be_resumed(task: str, solver: str) -> None:
    trajectory = TASKS[task](SamplerOptions.model_validate({"solver": solver, "steps": 6}))
    states = states_of(trajectory)
    for state in states:
        assert finish(trajectory, toy, state=State.load(state.save())).save() == states[-1].save()


@pytest.mark.parametrize("task", TASKS)
@given(choices=CHOICES)
@settings(max_examples=30, deadline=None)
def test_moves_are_pure_and_shapes_hold(task: str, choices: dict[str, Any]) -> None:
    trajectory = TASKS[task](SamplerOptions.model_validate(choices))
    states = states_of(trajectory)
    assert [state.step for state in states] == list(range(trajectory.steps + 1))
    assert trajectory.done(states[-1])
    for state in states:
        assert state.latents.shape == trajectory.estimate(state).shape == (8, 16, trajectory.frames)
        assert {state.latents.dtype, state.preview.dtype} == {torch.float32}
    for state in states[:-1]:
        assert not trajectory.done(state)
        before = state.save()
        queries = trajectory.queries(state)
        assert queries
        assert all(0 < query.timestep <= 1000 and query.latents.shape == (8, 16, query.frames) for query in queries)
        assert trajectory.advance(state, toy(queries)).save() == trajectory.advance(state, toy(queries)).save()
        assert state.save() == before


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_estimate_ends_at_the_song(task: str, solver: str) -> None:
    trajectory = TASKS[task](SamplerOptions.model_validate({"solver": solver, "steps": 6}))
    last = finish(trajectory, toy)
    assert torch.equal(trajectory.estimate(last), last.latents)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_straight_path_is_foreseen_from_the_first_step(solver: str) -> None:
    """With the true velocity every estimate is the song."""
    song = noise_of(77)
    options = SamplerOptions.model_validate({"solver": solver, "steps": 5, "omega": 0.0, "guidance_scale": 1.0})
    trajectory = TASKS["text2music"](options)
    states: list[State] = []
    finish(trajectory, towards(song), states.append)
    for state in states:
        torch.testing.assert_close(trajectory.estimate(state), song, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_every_query_has_a_branch_of_its_task(task: str) -> None:
    recorder = Recorder()
    finish(TASKS[task](SamplerOptions(steps=6)), recorder)
    branches = {query.branch for queries in recorder.steps for query in queries}
    edits = {"source", "source_null", "target", "target_null"}
    assert branches == (edits if task == "edit" else {"conditional", "null"})


def test_songs_can_advance_side_by_side() -> None:
    """The step engine's way: queries of several tasks, lengths and step counts answered in one go."""
    options = [SamplerOptions(steps=4), SamplerOptions(steps=6, solver="heun"), SamplerOptions(steps=3)]
    trajectories = [make(option) for make, option in zip(TASKS.values(), options, strict=False)]
    states = [trajectory.start() for trajectory in trajectories]
    while not all(trajectory.done(state) for trajectory, state in zip(trajectories, states, strict=True)):
        going = [i for i, trajectory in enumerate(trajectories) if not trajectory.done(states[i])]
        asked = [trajectories[i].queries(states[i]) for i in going]
        answers = iter(toy([query for queries in asked for query in queries]))
        for i, queries in zip(going, asked, strict=True):
            states[i] = trajectories[i].advance(states[i], [next(answers) for _ in queries])
    for trajectory, state in zip(trajectories, states, strict=True):
        assert finish(trajectory, toy).save() == state.save()


def test_state_survives_shared_memory() -> None:
    tensor = torch.ones(8, 16, 2)
    state = State(1, tensor, tensor, {"same": tensor.transpose(0, 1)})
    loaded = State.load(state.save())
    assert (loaded.step, set(loaded.memory)) == (1, {"same"})
    assert torch.equal(loaded.memory["same"], tensor.transpose(0, 1))


@pytest.mark.parametrize("content", [b"", b"no state", State(0, torch.ones(1), torch.ones(1)).save()[:-2]])
def test_damaged_state_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="not a saved trajectory"):
        State.load(content)


def test_state_of_another_song_is_refused() -> None:
    trajectory = TASKS["text2music"](SamplerOptions(steps=3))
    state = trajectory.start()
    longer = dataclasses.replace(state, latents=torch.zeros(8, 16, trajectory.frames + 1))
    for wrong in (longer, dataclasses.replace(state, step=4)):
        with pytest.raises(InputError, match="up to step 3"):
            finish(trajectory, toy, state=wrong)


def test_two_passes_resume_too() -> None:
    trajectory = extended(3, 4, SamplerOptions(steps=2), frames=MAX_FRAMES)
    states = states_of(trajectory)
    assert len(states) == 5
    for state in states:
        assert finish(trajectory, toy, state=State.load(state.save())).save() == states[-1].save()


def test_noise_levels() -> None:
    song, noise = noise_of(1), noise_of(2)
    assert torch.equal(noised(song, noise, 0.0), song)
    assert torch.equal(noised(song, noise, 1.0), noise)
