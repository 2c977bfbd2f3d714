package cbpnet.core

import java.text.Normalizer
import java.util.Locale

private const val LONGEST = 60

/** Control characters, halves of a character, and breaks of a line: the same on every host. */
private val UNPRINTABLE = setOf(
    CharCategory.CONTROL, CharCategory.SURROGATE, CharCategory.LINE_SEPARATOR, CharCategory.PARAGRAPH_SEPARATOR,
)

/**
 * A name that a person typed, as a label: without spaces around it, in Unicode's composed form (NFC).
 *
 * @throws InputException it is empty or too long, or has a line break or another control character.
 */
public fun cleanLabel(typed: String): String {
    val label = Normalizer.normalize(typed.trim(), Normalizer.Form.NFC)
    if (label.isEmpty()) throw InputException("The name is empty. Type what the thing is called.")
    if (label.length > LONGEST) throw InputException("The name is too long. Use at most $LONGEST letters.")
    if (label.codePoints().anyMatch { Character.getType(it) in UNPRINTABLE.map(CharCategory::value) }) {
        throw InputException("The name has a line break or a control character. Leave it out.")
    }
    return label
}

/**
 * Checks that a new label is none of the [known] ones and cannot be taken for one of them.
 *
 * @throws InputException it is known, or differs from a known one in case or Unicode form only.
 */
public fun checkNewLabel(label: String, known: Collection<String>) {
    val other = known.find { folded(it) == folded(label) } ?: return
    throw InputException(
        if (other == label) {
            "There is a class \"$label\" already. Choose another name, or teach that class more pictures."
        } else {
            "The name \"$label\" is the same as \"$other\" but for capitals or accents' form. Choose another " +
                "name, or teach \"$other\" more pictures."
        },
    )
}

private fun folded(label: String): String =
    // Upper case first, which makes of a sharp s two letters, as case folding does.
    Normalizer.normalize(label, Normalizer.Form.NFC).uppercase(Locale.ROOT).lowercase(Locale.ROOT)
