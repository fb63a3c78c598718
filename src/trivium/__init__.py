"""trivium: a language model learns to follow instructions from what people show and prefer.

Demonstrations, rankings, a reward model, PPO and PPO-ptx, as InstructGPT did it. Importing the
package loads nothing; the rooms are described in ARCHITECTURE.md.
"""
