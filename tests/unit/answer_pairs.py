"""Pairs of answers that are, and are not, the same: (gold, given), by kind. Hostile texts that are no answer at all.

What is listed here is the documented behaviour of the grader, the debatable cases too: a percent sign may be dropped or
read as a hundredth, units are not converted, capitals of words do not matter, the order of a list or set does not.
"""

Pairs = dict[str, list[tuple[str, str]]]

# fmt: off
SAME: Pairs = {
    "fractions": [
        (r"\frac{14}{3}", r"\dfrac{14}{3}"), (r"\frac{14}{3}", r"\tfrac{14}{3}"), (r"\frac43", r"\frac{4}{3}"),
        (r"\frac{1}{2}", "1/2"), (r"\frac12", "0.5"), (r"-\frac{1}{2}", r"\frac{-1}{2}"),
        (r"-\frac{1}{2}", r"\frac{1}{-2}"), (r"\frac{2}{4}", r"\frac{1}{2}"), (r"\frac{1}{8}", "0.125"),
        (r"\frac{9}{256}", "9/256"), (r"\frac{\pi}{2}", r"\pi/2"), (r"\frac{3\sqrt{3}}{4}", r"\frac{3}{4}\sqrt{3}"),
        (r"\frac{1}{1-x}", r"-\frac{1}{x-1}"), (r"\frac{a+b}{2}", r"\frac{b+a}{2}"), (r"\frac{x}{2}", r"\frac{1}{2}x"),
        (r"\frac 59", r"\frac{5}{9}"), (r"\frac{5}{9}", r"\cfrac{5}{9}"), (r"{5 \over 9}", r"\frac{5}{9}"),
        (r"\frac{3}{2}", "1.5"), (r"\frac{6}{5}", r"\frac{12}{10}"),
    ],
    "mixed": [
        (r"\frac{7}{2}", r"3\frac{1}{2}"), (r"3\frac{1}{2}", "3.5"), (r"3 \frac{1}{2}", r"\frac72"),
        (r"-2\frac{1}{3}", r"-\frac{7}{3}"), ("3 1/2", "3.5"), (r"11\frac{1}{9}", r"\frac{100}{9}"),
    ],
    "numbers": [
        (r"11,\! 111,\! 111,\! 100", "11111111100"), (r"10,\!080", "10080"), (".0000672", "0.0000672"),
        ("0.5", r"\frac{1}{2}"), ("5", "5."), ("5", "5.0"), ("5", "+5"), ("10080", r"10,\!080"), ("10080", "10,080"),
        ("10080", "10{,}080"), ("1234567", "1,234,567"), ("0.0000672", ".0000672"), (r"1.2 \times 10^{3}", "1200"),
        (r"6.72\times10^{-5}", "0.0000672"), ("-3", "\u22123"), ("007", "7"), ("2^{10}", "1024"),
        ("16!", "20922789888000"), ("3.50", "3.5"), (r"2 \cdot 3", "6"), ("1e3", "1000"),
        ("11111111100", r"11,\! 111,\! 111,\! 100"), ("2,000.50", "2000.5"),
    ],
    "units": [
        ("5", r"5\text{ cm}"), (r"5\text{ cm}", "5"), (r"5\text{ cm}^2", "5"),
        (r"5\text{ cm}", r"5\text{ centimeters}"), ("5", "5 cm"), (r"\frac{270}{7}", r"\frac{270}7\text{ degrees}"),
        (r"12\text{ square units}", "12"), (r"12\ \mathrm{m}", "12"), (r"3\,\text{mph}", "3"), ("18.90", r"\$18.90"),
        (r"\$18.90", "18.9"), (r"\$32,\!500", "32500"), (r"25\text{ minutes}", "25 minutes"),
        (r"10\text{ inches}", r"10 \text{ in}"), (r"864 \mbox{ inches}^2", "864"), (r"2\ \text{hours}", "2"),
        ("7.5 hours", "7.5"), ("5", r"5 \, \mathrm{km/h}"), (r"3\text{ m/s}", "3"), ("100", "100 dollars"),
    ],
    "degrees": [
        ("90", r"90^\circ"), (r"90^\circ", "90"), (r"90^{\circ}", "90"), (r"90^{\circ}", r"90\text{ degrees}"),
        ("90\u00b0", "90"), (r"45\degree", "45"), (r"120^\circ", "120 degrees"),
    ],
    "percent": [
        ("50", r"50\%"), (r"50\%", "50"), (r"50\%", "50%"), (r"50\%", "0.5"), ("0.5", r"50\%"), (r"12.5\%", "12.5"),
        (r"\frac{1}{4}", r"25\%"), (r"50\%", r"50 \text{ percent}"), ("50", "50 percent"),
    ],
    "equations": [
        ("x=5", "5"), ("5", "x=5"), ("5", "x = 5"), ("x^2+y^2=4", "y^2+x^2=4"), ("y=2x+1", "y = 1 + 2x"),
        ("y=2x+1", "2x+1"), ("2x+1", "y=2x+1"), (r"x \in [1,2]", "[1,2]"), ("f(x)=x^2", "x^2"), ("3", "n=3"),
        (r"r=\frac{1}{2}", "1/2"), ("x - y = 0", "y - x = 0"), ("(x-1)^2+y^2=4", "y^2 + (x-1)^2 = 4"),
        ("x=1, y=2", "(1,2)"),
    ],
    "algebra": [
        ("p - q", "-q + p"), ("x^5 - x^4 + 1", "1 - x^4 + x^5"), ("(x+1)^2", "x^2+2x+1"), ("2(x+3)", "2x+6"),
        ("xy", "yx"), ("(x-2)(x+3)", "(x+3)(x-2)"), ("6(b-a)", "6b - 6a"), ("x^{2}", "x^2"),
        (r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"), ("e^{x^2}", "e^{xx}"), ("-(a-b)", "b-a"), ("2^{n}-1", "2^n - 1"),
        ("(a+b)(a-b)", "a^2-b^2"), (r"\frac{n(n-1)}{2}", r"\binom{n}{2}"), ("a^{-1}", r"\frac{1}{a}"),
    ],
    "radicals": [
        (r"11\sqrt2", r"\sqrt{242}"), (r"\sqrt{8}", r"2\sqrt{2}"), (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
        (r"\sqrt[3]{8}", "2"), (r"\sqrt[3]{54}", r"3\sqrt[3]{2}"), ("2^{1/2}", r"\sqrt{2}"),
        (r"1+\sqrt{3}", r"\sqrt{3}+1"), (r"\sqrt{\frac{1}{2}}", r"\frac{\sqrt2}{2}"),
        (r"\sqrt{x^2+1}", "(x^2+1)^{1/2}"),
    ],
    "plusminus": [
        (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"), (r"\pm 2", "2, -2"), (r"\pm 2", "-2, 2"),
        ("-2, 2", r"\pm 2"), (r"x = \pm 3", r"\{-3, 3\}"),
    ],
    "tuples": [
        (r"\left( 3, \frac{\pi}{2} \right)", r"(3, \frac{\pi}{2})"), ("(1,2)", "(1, 2)"),
        ("(1,2)", r"\left(1,2\right)"), ("(1,2,3)", "(1.0,2,3)"), (r"(\frac12, -3)", "(0.5, -3)"),
        (r"\left(-\frac{1}{2},4\right)", "(-0.5,4)"), ("(1,2)", "(x,y)=(1,2)"), ("(-1, 6)", r"\big(-1,6\big)"),
        ("(1,2), (3,4)", "(3,4), (1,2)"),
    ],
    "intervals": [
        ("(3,4]", "(3, 4]"), (r"(-\infty, 2]", r"(-\infty,2]"),
        (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,2)"), ("[0,1)", r"\left[0,1\right)"),
        (r"[\frac12,\infty)", r"[0.5,\infty)"), (r"(-\infty, \infty)", r"(-\infty, +\infty)"),
        (r"(-\infty, \infty)", r"\mathbb{R}"), ("[1,2]", r"1 \le x \le 2"), (r"(2,\infty)", "x > 2"),
        ("[-2,3]", r"x\in[-2,3]"), (r"x \ge 2", r"x \geq 2"), (r"x \geq 2", r"2 \leq x"),
        ("(1, 3]", r"1 < x \leqslant 3"),
    ],
    "sets": [
        (r"\{1,2,3\}", r"\{3,2,1\}"), ("1,-2", "-2, 1"), (r"\{1,2\}", "1,2"), ("1,2", r"\{2, 1\}"),
        ("1, 2, 3", "1,2,3"), ("3, 5", "5 and 3"), ("3, 5", r"3 \text{ and } 5"), (r"\left\{1,2\right\}", r"\{1,2\}"),
        (r"\emptyset", r"\varnothing"), (r"\emptyset", r"\{\}"), (r"\frac12, 3", "3, 0.5"), ("1, 2 or 3", "1,2,3"),
    ],
    "matrices": [
        (r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", r"\begin{pmatrix} -\frac{1}{3} \\ \frac23 \end{pmatrix}"),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\left(\begin{array}{c} 1 \\ 2 \end{array}\right)"),
        (r"\begin{pmatrix}1&0\\0&1\end{pmatrix}", r"\begin{pmatrix} 1 & 0 \\ 0 & 1 \\ \end{pmatrix}"),
        (r"\begin{pmatrix} 0.5 \\ 1 \end{pmatrix}", r"\begin{pmatrix} \frac{1}{2} \\ 1 \end{pmatrix}"),
    ],
    "text": [
        (r"\text{Evelyn}", "Evelyn"), ("Evelyn", r"\text{evelyn}"), (r"\text{odd}", "odd"), ("even", r"\textbf{even}"),
        (r"\text{east}", "East"), (r"\text{Friday}", "Friday."), ("Yes", "yes"), (r"\text{Yes}", r"\text{yes}"),
        ("ellipse", "an ellipse"), (r"\text{parabola}", "The parabola"), ("red", r"\mathrm{red}"),
        ("Ellipse", r"\textit{ellipse}"), (r"\text{no solution}", "No solution"), ("12:30 p.m.", "12:30 pm"),
        (r"\text{neither}", "Neither"), (r"\text{all real numbers}", r"\text{All real numbers}"),
        (r"10\text{:}30", "10:30"), ("6:00 PM", r"6\!:\!00\text{ PM}"),
    ],
    "choices": [
        (r"\text{(C)}", "C"), ("C", "(C) 42"), ("B", "b"), ("C", "C. the third"), ("(A)", "A"), (r"\textbf{(D)}", "D"),
        ("A", r"\text{A}"), ("A", r"\textbf{(A)}\ 5"), ("D", "D)"), ("B", "Option B"), ("C", r"\mathrm{C}"),
        ("D", "answer D"), ("A,C", "A, C"), ("A, C", r"\text{A and C}"),
    ],
    "bases": [
        ("4210_{5}", "4210_5"), ("1011_2", "1011_{2}"), (r"\text{B}2_{16}", "B2_{16}"),
        ("2516_8", r"2516_{\text{eight}}"),
    ],
    "complex": [
        ("3+4i", "4i+3"), ("2i", "2 i"),
    ],
    "functions": [
        (r"\sin^2 x", r"(\sin x)^2"), (r"\ln 2", r"\log_e 2"), (r"\cos\theta", r"\cos \theta"), (r"\ln(8)", r"3\ln 2"),
        (r"\log_2 8", "3"), (r"\tan x", r"\frac{\sin x}{\cos x}"), (r"2\sin x\cos x", r"\sin 2x"),
        ("|x|", r"\left|x\right|"), (r"\frac{\ln 2}{2}", r"\frac12 \ln 2"),
    ],
    "ratios": [
        ("3:2", "3 : 2"), ("1:4", r"1\!:\!4"), ("3:2", "3{:}2"), ("2/3", r"2 \div 3"),
    ],
    "spelling": [
        (r"5\pi", r"5 \pi"), (r"5\pi", r"$5\pi$"), (r"5\pi", r"\(5\pi\)"), (r"5\pi", r"\[5\pi\]"),
        (r"5\pi", r"\displaystyle 5\pi"), (r"2\sqrt{3}", r"2\sqrt3"),
        (r"\frac{4^{2024}}{\binom{4048}{2024}}-2", r"-2 + \frac{4^{2024}}{\binom{4048}{2024}}"),
        (r"2^{25} \cdot 26!", r"26! \cdot 2^{25}"), (r"\dfrac{2469}{20,\!000}", r"\frac{2469}{20000}"),
        (r"5\pi", r"\boxed{5\pi}"), (r"\alpha + \beta", r"\beta+\alpha"), ("9", r"\mathbf{9}"), ("9", "9 ."),
    ],
}
DIFFERENT: Pairs = {
    "numbers": [
        ("5", "6"), ("5", "-5"), ("5", "0.5"), ("1000", "1,00"), ("1.5", "15"), ("0.33", r"\frac13"), ("3.14", r"\pi"),
        ("1234", "1243"), ("2^{10}", "1000"), ("0", "1"), ("10^{6}", "10^{5}"), ("42", "42, 43"), ("1", "11"),
        ("5", "five"), ("1000000007", "1000000009"), ("12", "1 2"),
    ],
    "fractions": [
        (r"\frac{1}{2}", r"\frac{2}{1}"), (r"\frac{14}{3}", r"\frac{15}{3}"), (r"\frac{7}{2}", r"3\frac{1}{3}"),
        (r"3\frac{1}{2}", r"\frac{3}{2}"), (r"\frac{1}{2}", r"-\frac{1}{2}"), (r"\frac{a}{b}", r"\frac{b}{a}"),
    ],
    "units": [
        ("5", r"6\text{ cm}"), (r"5\text{ cm}", r"50\text{ cm}"), (r"\$18.90", "1890"), ("5 cm", "4 cm"),
        ("90", r"\frac{\pi}{2}\cdot 2"),
    ],
    "percent": [
        ("50", "0.5"), (r"50\%", "5"), (r"5\%", "0.5"), (r"50\%", "0.05"), ("0.5", r"5\%"), (r"50\%", "500"),
    ],
    "intervals": [
        ("(3,4]", "(3,4)"), ("[3,4]", "(3,4)"), ("[3,4]", "[3,5]"), (r"(-\infty,2)", r"(-\infty,2]"),
        (r"(-\infty,2)\cup(3,\infty)", r"(-\infty,2)"), (r"(2,\infty)", r"x \ge 2"), ("x > 2", "x < 2"),
        ("[1,2]", "1 < x < 2"), (r"\mathbb{R}", r"(0,\infty)"), ("[0,1)", "(0,1]"),
    ],
    "tuples": [
        ("(1,2)", "(2,1)"), ("(1,2,3)", "(1,2)"), ("(1,2)", "(1,3)"), ("(1,2)", "(-1,2)"), ("(1,2), (3,4)", "(1,2)"),
        ("(1,2)", "12"),
    ],
    "sets": [
        (r"\{1,2,3\}", r"\{1,2\}"), (r"\{1,2\}", r"\{1,2,3\}"), ("1,2", "1,3"), ("1", "1,2"), ("1,2", "1"),
        (r"\pm 2", "2"), ("2", r"\pm 2"), (r"\emptyset", r"\{0\}"), ("3, 5", "35"), ("1, 2", "12"),
    ],
    "matrices": [
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \end{pmatrix}"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 3 \end{pmatrix}"),
        (r"\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}", "1"),
    ],
    "text": [
        ("even", "veen"), ("even", "odd"), (r"\text{Evelyn}", "Eve"), ("Yes", "No"), ("Friday", "Saturday"),
        ("ellipse", "circle"), ("10:30", "10:31"), ("no solution", "0"), ("ellipse", "not an ellipse"),
        ("6:00 PM", "6:00 AM"), ("red", "5"),
    ],
    "choices": [
        ("C", "D"), ("C", "Cat"), ("A", "B, because A is wrong"), ("A", "AB"), ("A", "(B)"), ("C", "3"),
        ("A,C", "A,B"), ("A", "A, B"), ("A", "Apple"),
    ],
    "algebra": [
        ("x+1", "x-1"), ("x^2", "x^3"), ("(x+1)^2", "x^2+1"), ("p-q", "q-p"), ("2x", "2y"), ("x", "y"),
        (r"\frac{n(n+1)}{2}", r"\frac{n(n-1)}{2}"), ("2^n", "n^2"), ("y=2x+1", "y=2x-1"), ("x^2+y^2=4", "x^2+y^2=2"),
        ("x=5", "y=6"), ("a^2-b^2", "(a-b)^2"), ("6(b-a)", "6(a-b)"),
    ],
    "radicals": [
        (r"\sqrt{2}", "1.41"), (r"\sqrt{2}", "2"), (r"11\sqrt2", r"\sqrt{22}"), (r"1+\sqrt{3}", r"1-\sqrt{3}"),
        (r"\sqrt[3]{2}", r"\sqrt{2}"), (r"\sqrt{8}", r"4\sqrt2"),
    ],
    "bases": [
        ("4210_5", "4210_7"), ("4210_5", "4211_5"), ("1011_2", "11"),
    ],
    "complex": [
        ("3+4i", "3-4i"), ("3+4i", "7"), ("i", "-i"), ("3+4i", "4+3i"),
    ],
    "functions": [
        (r"\sin x", r"\cos x"), (r"\ln 2", r"\log_{10} 2"), (r"\sin^2 x", r"\sin x^2"), (r"\tan x", r"\cot x"),
    ],
    "ratios": [
        ("3:2", "2:3"), ("3:2", "3:4"), ("1:4", "14"),
    ],
    "nothing": [
        ("5", ""), ("", ""), ("", "5"), ("5", "?"), ("5", r"\boxed{}"), ("5", "answer"), ("5", "none"), ("x", ""),
    ],
}
HOSTILE: list[str] = [
    "{", "}{", "\\", "\\frac", "((((", "\\boxed{", "\x00", "\\text{", "__import__('os').system('true')", "é😀",
    "9^{9^{9^{9}}}", "(" * 5000, "9!" * 2000, "9999999999!", "10^{9999999}", "((9!)!)!", r"\frac{" * 300,
    r"\sqrt{" * 400, "1+" * 5000, r"\int_0^\infty e^{x^{x^x}} dx", r"\sum_{n=1}^{10^9} \frac{1}{n^n}",
    r"\prod_{k=1}^{99999} k", r"2^{2^{30}}", r"\binom{10^8}{5\cdot 10^7}", r"\lim_{x\to 0} \frac{\sin x}{x}" * 6,
    "x^{999}" * 30, r"\left(" * 60, "\\begin{pmatrix}" * 50, "1" * 10000, "1" * 250, "<script>alert(1)</script>",
    "\u202e5", "5\n" * 100, "%s%s%n", "$" * 400, r"(x+1)^{5000}", r"(x+y+z+w)^{200}", r"\sin(" * 20 + "x" + ")" * 20,
    "0/0", r"\frac{1}{0}", "nan", "inf", r"\infty",
]
# fmt: on
