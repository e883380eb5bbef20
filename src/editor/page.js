// What the page does by itself: it sends the action of what is pressed, and keeps the keyboard where it was.
// Gradio gives `element`, `trigger` and `watch`.
let last = null; // the action whose button had the focus before the scene was drawn anew

const group = (button) => button.closest("[data-arrows]");

// Of the buttons of a group one is reached with Tab, the others with the arrow keys.
const rove = () => {
    for (const one of element.querySelectorAll("[data-arrows]")) {
        const buttons = [...one.querySelectorAll("button")];
        const current = buttons.find((b) => b.getAttribute("aria-pressed") === "true" && !b.classList.contains("keep"));
        buttons.forEach((button) => { button.tabIndex = button === (current || buttons[0]) ? 0 : -1; });
    }
};

element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    last = button.dataset.do;
    trigger("click", { do: JSON.parse(last) });
});

element.addEventListener("keydown", (event) => {
    const button = event.target.closest("[data-arrows] button");
    if (!button || !event.key.startsWith("Arrow")) return;
    const here = button.getBoundingClientRect();
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    let best = null, nearest = Infinity; // the nearest button in that direction
    for (const other of group(button).querySelectorAll("button")) {
        const there = other.getBoundingClientRect();
        const x = there.x + there.width / 2 - here.x - here.width / 2, y = there.y + there.height / 2 - here.y - here.height / 2;
        const along = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
        if (along > 2 && along + 3 * aside < nearest) [best, nearest] = [other, along + 3 * aside];
    }
    if (best) {
        button.tabIndex = -1;
        best.tabIndex = 0;
        best.focus();
    }
    event.preventDefault();
});

watch("value", () => {
    rove();
    if (!last) return;
    const same = [...element.querySelectorAll("[data-do]")].find((button) => button.dataset.do === last);
    if (same) {
        if (group(same)) group(same).querySelectorAll("button").forEach((button) => { button.tabIndex = -1; });
        same.tabIndex = 0;
        same.focus({ preventScroll: true });
    }
    last = null;
});
rove();
