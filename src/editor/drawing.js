// A canvas to paint and stamp on, by pointer or keyboard; its picture is sent as a PNG.
const canvas = element.querySelector("canvas"), paper = canvas.getContext("2d");
const value = (name) => element.querySelector(`input[name=${name}]:checked`).value;
const size = () => Number(element.querySelector("input[type=range]").value) / 100 * canvas.width;
const cursor = element.querySelector(".cursor");
const shapes = {
    circle: (r) => { paper.arc(0, 0, r, 0, 2 * Math.PI); },
    brush: (r) => { paper.arc(0, 0, r / 3, 0, 2 * Math.PI); },
    square: (r) => { paper.rect(-r, -r, 2 * r, 2 * r); },
    triangle: (r) => { paper.moveTo(0, -r); paper.lineTo(r, r); paper.lineTo(-r, r); paper.closePath(); },
};
let at = { x: canvas.width / 2, y: canvas.height / 2 };

const clear = () => { paper.fillStyle = "#000"; paper.fillRect(0, 0, canvas.width, canvas.height); };
const mark = () => {
    paper.save();
    paper.translate(at.x, at.y);
    paper.fillStyle = value("ink");
    paper.beginPath();
    shapes[value("tool")](size() / 2);
    paper.fill();
    paper.restore();
};
const point = (event) => {
    const box = canvas.getBoundingClientRect();
    at = { x: (event.clientX - box.x) / box.width * canvas.width, y: (event.clientY - box.y) / box.height * canvas.height };
    show();
};
const show = () => { cursor.style.left = `${at.x / canvas.width * 100}%`; cursor.style.top = `${at.y / canvas.height * 100}%`; };

canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); mark(); });
canvas.addEventListener("pointermove", (event) => { if (event.buttons) { point(event); if (value("tool") === "brush") mark(); } });
canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
        const inside = (v) => Math.min(canvas.width, Math.max(0, v));
        at = { x: inside(at.x + step[0] * 16), y: inside(at.y + step[1] * 16) };
        show();
    } else if (event.key === "Enter" || event.key === " ") mark();
    else return;
    event.preventDefault();
});
element.querySelector(".clear").addEventListener("click", clear);
element.querySelector(".use").addEventListener("click", () => { trigger("submit", { picture: canvas.toDataURL("image/png") }); });
clear();
show();
