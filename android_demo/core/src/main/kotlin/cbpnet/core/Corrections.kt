package cbpnet.core

/** The journal with a class forgotten, one of those that are known. */
internal fun forget(journal: Journal, label: String, time: Long): Journal =
    journal.followedBy(Edit(EditKind.FORGET, time, label))

/** The journal with a known class under another name, which is not known. */
internal fun rename(journal: Journal, label: String, new: String, time: Long): Journal =
    journal.followedBy(Edit(EditKind.RENAME, time, label, new))

/**
 * The journal with all images of a known class made those of another known one.
 *
 * @throws InputException both are the same, or the first one's images are settled.
 */
internal fun merge(journal: Journal, label: String, into: String, time: Long): Journal {
    if (label == into) throw InputException("\"$label\" cannot be merged with itself. Choose another class.")
    if (label in resolve(journal).base) {
        throw InputException(
            "Pictures of \"$label\" are not in the journal any more, and cannot become those of \"$into\". Forget " +
                "\"$label\" and teach \"$into\" with them.",
        )
    }
    return journal.followedBy(Edit(EditKind.MERGE, time, label, into))
}

/**
 * The journal with some images, by their keys, made those of a class, known or new.
 *
 * @throws InputException one of them is not in the journal, or all are of that class already.
 */
internal fun relabel(journal: Journal, pictures: List<ULong>, new: String, time: Long): Journal {
    val chosen = pictures.toSet()
    val classes = resolve(journal).lessons.flatMap { it.pictures.zip(it.names) }.filter { it.first in chosen }
    val missing = chosen - classes.map { it.first }.toSet()
    if (missing.isNotEmpty() || chosen.isEmpty()) {
        throw InputException(
            "${missing.size} of ${chosen.size} pictures cannot be relabelled: the journal has no lesson with them. " +
                "Teach them to the right class instead.",
        )
    }
    if (classes.all { it.second == new }) throw InputException("All these pictures are of \"$new\" already.")
    return journal.followedBy(Edit(EditKind.RELABEL, time, "", new, chosen.sorted()))
}
