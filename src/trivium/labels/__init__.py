"""The kinds of question a person is asked, and the row that stores each kind of answer.

One file per kind. Nothing here reads files or knows of models: pydantic is the only import.
"""

from trivium.labels.demonstration import Demonstration
from trivium.labels.prompt import Message, Messages, Prompt
from trivium.labels.ranking import Completion, Ranking, has_untied_pair
from trivium.labels.text import Text

Label = Prompt | Demonstration | Ranking | Text

__all__ = [
    "Completion",
    "Demonstration",
    "Label",
    "Message",
    "Messages",
    "Prompt",
    "Ranking",
    "Text",
    "has_untied_pair",
]
