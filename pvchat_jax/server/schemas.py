"""What requests and responses look like. A field that the server would not heed is refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_MOST_TEXT = 20_000  # letters of one message
Text = Annotated[str, StringConstraints(max_length=_MOST_TEXT)]
Reference = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TextPart(_Strict):
    """Words."""

    type: Literal["text"]
    text: Text


class Address(BaseModel):
    """Where a video is: a path in the server's folder, the id of an upload, or `data:video/mp4;base64,...`."""

    url: Reference


class VideoPart(_Strict):
    """A video."""

    type: Literal["video_url"]
    video_url: Address


class FileSource(BaseModel):
    """An upload's id, or the file itself as `data:video/mp4;base64,...`."""

    file_id: Reference | None = None
    file_data: Reference | None = None
    filename: str | None = Field(None, max_length=500)


class FilePart(_Strict):
    """A video as OpenAI's clients name files."""

    type: Literal["file"]
    file: FileSource


class Message(BaseModel):
    """One turn."""

    role: Literal["user", "assistant"]
    content: Text | list[TextPart | VideoPart | FilePart]
    name: str | None = Field(None, max_length=200)


class StreamOptions(BaseModel):
    """`include_usage` adds a last chunk with the numbers of tokens."""

    include_usage: bool = False


class ChatRequest(_Strict):
    """As of OpenAI, with what only this server knows at the end."""

    model: Annotated[str, StringConstraints(max_length=500)] = Field("pvchat", description="`pvchat`, or `pvchat:NAME,NAME`")
    messages: list[Message] = Field(min_length=1, max_length=100)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=10**6)
    max_completion_tokens: int | None = Field(None, ge=1, le=10**6)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    stop: StopText | list[StopText] | None = None
    user: str | None = Field(None, max_length=200, description="tells programs of one machine apart, for turns")
    metadata: dict[str, Any] | None = Field(None, description="not looked at")
    n: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logprobs: Literal[False] | None = None
    top_k: int = Field(0, ge=0, le=10**6)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    num_beams: int = Field(1, ge=1, le=64)
    length_penalty: float = Field(1.0, ge=-10, le=10)


class PresenceResult(BaseModel):
    """Whether a person is in a video."""

    probability: float
    verdict: Literal["present", "absent", "unsure"]
    log_odds: float


class Extension(BaseModel):
    """What OpenAI has no field for: who is there, by name, and the times of the frames that the model saw, in seconds."""

    presence: dict[str, PresenceResult]
    frame_times: list[float]


class Usage(BaseModel):
    """Tokens without the video's."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """The only one."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class ChatResponse(BaseModel):
    """As of OpenAI, with `pvchat`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    pvchat: Extension


class Model(BaseModel):
    """A person who can be asked about, or all of them."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "pvchat"


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


class File(BaseModel):
    """An upload."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str = "user_data"
    status: Literal["processed"] = "processed"
    seconds: float


class FileList(BaseModel):
    """Those of the client."""

    object: Literal["list"] = "list"
    data: list[File]
    has_more: Literal[False] = False


class Deleted(BaseModel):
    """What is gone."""

    id: str
    object: str
    deleted: Literal[True] = True


class VideoList(BaseModel):
    """Videos of the server's folder, by path."""

    data: list[str]


class Subject(BaseModel):
    """Somebody who is enrolled; `usable` is False without a consent that holds today."""

    name: str
    usable: bool
    invented: bool
    consent_by: str | None
    consent_until: str | None
    note: str


class SubjectList(BaseModel):
    """Everybody, over which base, and whether people can be enrolled here."""

    data: list[Subject]
    base: str | None
    can_enrol: bool
    enrol_note: str


class Erased(BaseModel):
    """A person is gone; `receipt` says what was erased, without a name."""

    name: str
    receipt: str


class TimelineRequest(_Strict):
    """Windows of a video in which people are looked for; as many as fit evenly where `seconds` would make too many."""

    video: Reference
    names: list[Name] = Field(min_length=1, max_length=8)
    seconds: float = Field(2.0, ge=0.25, le=3600)


class WindowResult(BaseModel):
    """What is shown from `start` to `end`, in seconds."""

    start: float
    end: float
    presence: dict[str, PresenceResult]


class TimelineResponse(BaseModel):
    """All of a video."""

    seconds: float
    windows: list[WindowResult]


class EnrolRequest(_Strict):
    """A person to be learnt from a video. `person` is the number on the sheet of people, where the video shows several."""

    video: Reference
    name: Name
    consent_by: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    consent_until: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")]
    agreed: Literal[True] = Field(description="the person has agreed to be learnt from this video")
    person: int | None = Field(None, ge=0, le=1000)


class Step(BaseModel):
    """A part of an enrolment."""

    name: str
    state: Literal["waiting", "running", "done"]
    done: int
    total: int | None


class EnrolmentResult(BaseModel):
    """How far an enrolment is. `sheet` is the address of a page to look at; `scores` are there at the end, where a test was made."""

    id: str
    name: str
    state: Literal["running", "choose", "done", "failed", "cancelled"]
    message: str
    steps: list[Step]
    sheet: str | None
    verdict: list[str]
    scores: dict[str, float]


class EnrolmentList(BaseModel):
    """The newest first."""

    data: list[EnrolmentResult]


class Health(BaseModel):
    """`ok` while questions are answered."""

    status: Literal["ok", "failing"]
    waiting: int
    open: int


class KeyGiven(_Strict):
    """A key of the server, for a browser."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class ErrorBody(BaseModel):
    """What is wrong, in one sentence."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """As of OpenAI."""

    error: ErrorBody
