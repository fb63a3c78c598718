"""A cat in a grid and the ladder of algorithms from REINFORCE to PPO, one file each.

The room is closed: it calls ``maths``, where the formulas are that the language model uses too, and
nothing calls it but the command line. Its settings stand in its own files. Importing it registers
``trivium/Cat-v0`` with Gymnasium.
"""

import gymnasium

gymnasium.register(
    id="trivium/Cat-v0",
    entry_point="trivium.classic.cat:CatEnv",
    vector_entry_point="trivium.classic.cat:CatVectorEnv",
    max_episode_steps=100,
)
