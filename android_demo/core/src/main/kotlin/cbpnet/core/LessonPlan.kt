package cbpnet.core

private const val NAMED = 5

/**
 * The labels that are new.
 *
 * @throws InputException there is no label, two can be taken for each other, or there is no room for
 *   the new classes.
 */
internal fun newLabels(before: Knowledge, manifest: Manifest, labels: Collection<String>): List<String> {
    if (labels.isEmpty()) throw InputException("There are no pictures to learn from. Take some first.")
    val new = labels.filter { it !in before.classNames }
    new.forEachIndexed { index, label ->
        require(cleanLabel(label) == label) { "the label \"$label\" has spaces around it" }
        checkNewLabel(label, before.classNames + new.take(index))
    }
    val free = manifest.classes - before.classNames.size
    if (new.size > free) {
        throw InputException(
            "${listed(new)}: there is room for $free more of ${manifest.classes} classes. Forget one, or export a " +
                "bundle with room for more.",
        )
    }
    return new
}

/**
 * Plans what is learnt where: the labels to be learnt in each task, by the task's number from 0.
 *
 * A known class is learnt in its own task; new ones begin a task of their own, or join the known task
 * [joined], counted from 0.
 *
 * @throws InputException as [newLabels]; or there is no room for the new task.
 */
internal fun planLessons(
    before: Knowledge,
    manifest: Manifest,
    labels: Collection<String>,
    joined: Int?,
): Map<Int, List<String>> {
    val new = newLabels(before, manifest, labels)
    val planned = sortedMapOf<Int, List<String>>()
    planned += labels.filter { it !in new }.groupBy(before::taskOf)
    if (new.isNotEmpty()) {
        val task = joined ?: before.knownTasks
        checkTask(before, manifest, task)
        planned[task] = planned[task].orEmpty() + new
    }
    return planned
}

private fun checkTask(before: Knowledge, manifest: Manifest, task: Int) {
    require(task in 0..before.knownTasks) { "task $task is none of the ${before.knownTasks} known ones" }
    if (task == manifest.tasks) {
        throw InputException(
            "All ${manifest.tasks} tasks of the bundle are in use, so that no new one can be begun. Let the new " +
                "class join the last one, forget all classes of one, or export a bundle with room for more.",
        )
    }
}

private fun listed(labels: List<String>): String =
    labels.take(NAMED).joinToString() + if (labels.size > NAMED) " and ${labels.size - NAMED} more" else ""
