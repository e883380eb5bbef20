"""Every word of the demo page, in English and Korean."""

from __future__ import annotations

from typing import Any

LANGUAGES = ("en", "ko")

TEXTS: dict[str, dict[str, str]] = {
    # ---------------------------------------------------------------- the page
    "title": {"en": "Edit a scene by its codes", "ko": "코드로 장면 고치기"},
    "intro": {
        "en": "The model writes each object as a few codes. Choose a cell of the table, then the picture of another "
        "code, and see what changes.",
        "ko": "모델은 객체 하나를 코드 몇 개로 씁니다. 표의 칸을 고른 다음 다른 코드의 그림을 고르고, "
        "무엇이 바뀌는지 보세요.",
    },
    "other_language": {"en": "한국어", "ko": "English"},
    "random": {"en": "Random scene", "ko": "아무 장면이나"},
    "upload": {"en": "Open a picture", "ko": "그림 열기"},
    "load": {"en": "Load codes", "ko": "코드 불러오기"},
    "undo": {"en": "Undo", "ko": "되돌리기"},
    "add": {"en": "Add an object", "ko": "객체 넣기"},
    "draw": {"en": "Draw a picture", "ko": "그림 그리기"},
    "draw_help": {
        "en": "Drag to paint or press to stamp. With the keyboard: arrow keys move, Enter or Space stamps.",
        "ko": "끌어서 칠하거나 눌러서 찍습니다. 키보드로는 화살표로 옮기고 Enter나 Space로 찍습니다.",
    },
    "canvas": {"en": "Drawing area", "ko": "그리는 곳"},
    "tool": {"en": "Tool", "ko": "도구"},
    "brush": {"en": "Brush", "ko": "붓"},
    "size": {"en": "Size", "ko": "크기"},
    "ink": {"en": "Colour", "ko": "색"},
    "clear": {"en": "Clear", "ko": "지우기"},
    "use_drawing": {"en": "Use this drawing", "ko": "이 그림 쓰기"},
    "prior_title": {"en": "New scenes from the prior", "ko": "프라이어가 쓰는 새 장면"},
    "prior_help": {
        "en": "The prior writes whole scenes, or all but the objects marked “keep”. Choose one to edit it.",
        "ko": "프라이어가 장면 전체를 쓰거나, ‘남기기’로 표시한 객체만 두고 나머지를 씁니다. 고르면 고칠 수 있습니다.",
    },
    "no_prior": {
        "en": "This model has no prior, so it writes no new scenes.",
        "ko": "이 모델에는 프라이어가 없어 새 장면을 쓰지 않습니다.",
    },
    "temperature": {"en": "Temperature", "ko": "온도"},
    "temperature_help": {"en": "lower: likelier, more alike", "ko": "낮을수록 그럴듯하고 서로 비슷합니다"},
    "top_k": {"en": "Top-k", "ko": "상위 k개"},
    "top_k_help": {
        "en": "draw among the k likeliest codes; 0: all",
        "ko": "가장 그럴듯한 코드 k개에서 뽑습니다. 0은 전부",
    },
    "sample": {"en": "Write new scenes", "ko": "새 장면 쓰기"},
    "complete": {"en": "Keep marked, write the rest", "ko": "표시한 것만 남기고 나머지 쓰기"},
    # ---------------------------------------------------------------- the board
    "input": {"en": "Picture", "ko": "그림"},
    "before": {"en": "Before", "ko": "바꾸기 전"},
    "now": {"en": "Now", "ko": "지금"},
    "objects": {"en": "Objects", "ko": "객체"},
    "save_picture": {"en": "Save picture", "ko": "그림 저장"},
    "save_codes": {"en": "Save codes", "ko": "코드 저장"},
    "table": {"en": "Codes of the scene", "ko": "장면의 코드"},
    "object": {"en": "Object {number}", "ko": "객체 {number}"},
    "background": {"en": "Background", "ko": "배경"},
    "empty": {"en": "Empty", "ko": "빈 슬롯"},
    "block": {"en": "Block {number}", "ko": "블록 {number}"},
    "keep": {"en": "keep", "ko": "남기기"},
    "keep_of": {"en": "Keep {name}", "ko": "{name} 남기기"},
    "remove": {"en": "Remove {name}", "ko": "{name} 빼기"},
    "code_of": {"en": "{block} of {name}: code {code}", "ko": "{name}의 {block}: 코드 {code}"},
    "palette": {"en": "{name}: {block}", "ko": "{name}: {block}"},
    "palette_help": {
        "en": "Each picture shows one object with that code.",
        "ko": "그림마다 그 코드를 가진 객체 하나가 보입니다.",
    },
    "choose": {"en": "Choose a cell of the table to see its codes.", "ko": "표의 칸을 고르면 그 코드들이 보입니다."},
    "swap": {"en": "Swap {block} with {name}", "ko": "{block} 맞바꾸기: {name}"},
    "code": {"en": "code {code}", "ko": "코드 {code}"},
    "scene": {"en": "Scene {number}", "ko": "장면 {number}"},
    "mask_of": {"en": "What the model paints for {name}", "ko": "모델이 {name} 자리에 그리는 것"},
    # ---------------------------------------------------------------- what happened
    "did_random": {"en": "A random scene of the model's data.", "ko": "모델의 데이터에서 아무 장면이나 골랐습니다."},
    "did_draw_random": {"en": "A random scene, written by the prior.", "ko": "프라이어가 아무 장면이나 썼습니다."},
    "did_read": {"en": "The picture was read as {slots} slots.", "ko": "그림을 슬롯 {slots}개로 읽었습니다."},
    "did_load": {"en": "The codes were loaded.", "ko": "코드를 불러왔습니다."},
    "did_code": {
        "en": "{name}: {block} is code {code} now.",
        "ko": "{name}: {block} 코드가 이제 {code}입니다.",
    },
    "did_swap": {
        "en": "{first} and {second} have swapped {block}.",
        "ko": "{block} 맞바꿈: {first} ↔ {second}",
    },
    "did_remove": {"en": "{name} was removed.", "ko": "뺐습니다: {name}"},
    "did_add": {"en": "{name} was added.", "ko": "넣었습니다: {name}"},
    "did_undo": {"en": "The last change was undone.", "ko": "마지막 변경을 되돌렸습니다."},
    "did_propose": {
        "en": "{count} scenes were written; choose one.",
        "ko": "장면 {count}개를 썼습니다. 하나를 고르세요.",
    },
    "did_take": {"en": "Scene {number} was chosen.", "ko": "장면 {number}번을 골랐습니다."},
    # ---------------------------------------------------------------- what cannot be done
    "bad_action": {
        "en": "The page sent something that is no edit; reload it.",
        "ko": "편집이 아닌 요청입니다. 페이지를 새로 고치세요.",
    },
    "no_scene": {
        "en": "There is no scene yet; choose a random one first.",
        "ko": "아직 장면이 없습니다. 먼저 아무 장면이나 고르세요.",
    },
    "bad_slot": {
        "en": "There is no slot {slot}; this model has {slots}.",
        "ko": "{slot}번 슬롯이 없습니다. 이 모델의 슬롯은 {slots}개입니다.",
    },
    "bad_block": {
        "en": "There is no block {block}; this model has {blocks}.",
        "ko": "{block}번 블록이 없습니다. 이 모델의 블록은 {blocks}개입니다.",
    },
    "bad_code": {
        "en": "Code {code} is not one of 0 to {last}.",
        "ko": "코드는 0에서 {last} 사이여야 하는데 {code}입니다.",
    },
    "nothing_to_undo": {"en": "There is nothing to undo.", "ko": "되돌릴 것이 없습니다."},
    "full": {
        "en": "All {slots} slots hold something; remove an object first.",
        "ko": "슬롯 {slots}개가 모두 차 있습니다. 먼저 객체 하나를 빼세요.",
    },
    "bad_picture": {"en": "This cannot be used as a picture: {reason}", "ko": "그림으로 쓸 수 없습니다: {reason}"},
    "too_large": {
        "en": "The file is larger than {limit}; use a smaller one.",
        "ko": "파일이 {limit}보다 큽니다. 더 작은 것을 쓰세요.",
    },
    "not_codes": {
        "en": 'This is no file of codes; expected JSON such as {{"codes": [scene]}}, a scene being {slots} slots of '
        "{blocks} codes.",
        "ko": '코드 파일이 아닙니다. {{"codes": [장면]}} 같은 JSON이어야 하고, 장면은 코드 {blocks}개짜리 슬롯 '
        "{slots}개입니다.",
    },
    "wrong_shape": {
        "en": "The codes have the shape {found}; this model needs {slots} slots of {blocks} codes.",
        "ko": "코드의 크기가 {found}입니다. 이 모델에는 코드 {blocks}개짜리 슬롯 {slots}개가 필요합니다.",
    },
    "bad_number": {
        "en": "{name} must be a number from {low} to {high}.",
        "ko": "{name} 값은 {low}에서 {high} 사이의 수여야 합니다.",
    },
    "no_prior_here": {
        "en": "This model has no prior to write scenes.",
        "ko": "이 모델에는 장면을 쓸 프라이어가 없습니다.",
    },
    "tick_some": {
        "en": "Mark objects with “keep” first: at least one, and not all {slots} slots.",
        "ko": "먼저 ‘남기기’로 객체를 표시하세요. 하나 이상, 슬롯 {slots}개 전부는 아니어야 합니다.",
    },
    "nothing_found": {
        "en": "The prior found no scene with these objects; keep fewer.",
        "ko": "이 객체들이 있는 장면을 프라이어가 찾지 못했습니다. 더 적게 남기세요.",
    },
}

# What data sets call properties and their values; what is not here is shown as it is.
KOREAN = {
    **{"colour": "색", "shape": "모양", "size": "크기", "x": "가로 위치", "y": "세로 위치", "material": "재질"},
    **{
        "red": "빨강",
        "green": "초록",
        "blue": "파랑",
        "yellow": "노랑",
        "magenta": "자홍",
        "cyan": "청록",
        "white": "하양",
    },
    **{"gray": "회색", "brown": "갈색", "purple": "보라", "small": "작음", "medium": "중간", "large": "큼"},
    **{"circle": "원", "square": "사각형", "triangle": "삼각형", "ellipse": "타원", "heart": "하트"},
    **{"cube": "정육면체", "sphere": "구", "cylinder": "원기둥", "rubber": "고무", "metal": "금속"},
}
ENGLISH = {"x": "x position", "y": "y position"}


def say(language: str, key: str, **values: Any) -> str:
    """The text of that name, filled with `values`."""
    return TEXTS[key][language].format(**values)


def word(language: str, name: str) -> str:
    """A data set's name of a property or of a value, in that language."""
    return (KOREAN if language == "ko" else ENGLISH).get(name, name)


class Refused(ValueError):
    """Something that cannot be done. `key` and `values` are the line that says why, in any language (`say`)."""

    def __init__(self, key: str, **values: Any) -> None:
        self.key, self.values = key, values
        super().__init__(say("en", key, **values))

    def line(self, language: str) -> str:
        return say(language, self.key, **self.values)
