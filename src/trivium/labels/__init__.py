"""The kinds of question a person is asked, and the row that stores each kind of answer.

One file per kind. Nothing here knows of models or databases: pydantic is the only import, and YAML
for the list of flags that ships with the package.
"""

from trivium.labels.cloze import ClozeQuestion
from trivium.labels.demonstration import Demonstration
from trivium.labels.line import LabelLine, as_demonstration, as_ranking
from trivium.labels.prompt import Message, Messages, Prompt
from trivium.labels.question import Question, default_question
from trivium.labels.ranking import Completion, Ranking, has_untied_pair
from trivium.labels.sheet import DemonstrationSheet, Judgement, RankingSheet, SkipSheet
from trivium.labels.text import Text

Label = Prompt | Demonstration | Ranking | Text

__all__ = [
    "ClozeQuestion",
    "Completion",
    "Demonstration",
    "DemonstrationSheet",
    "Judgement",
    "Label",
    "LabelLine",
    "Message",
    "Messages",
    "Prompt",
    "Question",
    "Ranking",
    "RankingSheet",
    "SkipSheet",
    "Text",
    "as_demonstration",
    "as_ranking",
    "default_question",
    "has_untied_pair",
]
