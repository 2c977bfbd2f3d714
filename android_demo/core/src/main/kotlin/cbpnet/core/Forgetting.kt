package cbpnet.core

/**
 * What is known in tasks without a class: as if it had never had a number. [layout] is [Manifest.state].
 *
 * The classes after it move up by one, and if its task has no other class, the tasks after it too.
 * What prompts, block and readout learnt from its images for the other classes stays.
 */
internal fun forgetWithItsTask(before: Knowledge, label: String, layout: Map<String, StateTensor>): Knowledge {
    val number = before.classNames.indexOf(label)
    val state = before.state.mapValuesTo(LinkedHashMap()) { (name, tensor) ->
        val counts = layout.getValue(name).counts
        if (counts == Counted.CLASSES) withoutRow(tensor, number, unknownValue(name)) else tensor
    }
    val task = before.taskOf(label)
    if (state.getValue("classes.task").values.none { it.toInt() == task }) {
        removeTask(state, task, before.knownTasks, layout.filterValues { it.counts == Counted.TASKS }.keys)
    }
    return Knowledge(state, before.classNames - label, before.lessons)
}

private fun removeTask(state: LinkedHashMap<String, FloatTensor>, task: Int, known: Int, ofTasks: Set<String>) {
    for (name in ofTasks) {
        // A first task starts from the first E-prompt as it stands, which must not be zeros.
        if (known > 1 || name != "prompts.e") state[name] = withoutRow(state.getValue(name), task, unknownValue(name))
    }
    for (name in listOf("classes.task", "tasks.current")) {
        val numbers = state.getValue(name)
        state[name] = FloatTensor(
            FloatArray(numbers.values.size) { renumbered(numbers.values[it], task) },
            numbers.shape,
        )
    }
}

/** A task's number after [removed] has gone; -1, none, where it was that one. */
private fun renumbered(task: Float, removed: Int): Float = when {
    task.toInt() == removed -> -1f
    task > removed -> task - 1
    else -> task
}

/** A tensor without a row of its first axis, and with one of [filling] at the end. */
private fun withoutRow(tensor: FloatTensor, row: Int, filling: Float): FloatTensor {
    val width = tensor.values.size / tensor.shape[0]
    val values = FloatArray(tensor.values.size) { filling }
    tensor.values.copyInto(values, 0, 0, row * width)
    tensor.values.copyInto(values, row * width, (row + 1) * width)
    return FloatTensor(values, tensor.shape)
}
