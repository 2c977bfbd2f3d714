package cbpnet.core

import java.security.SecureRandom

/** The teacher of a one-pass bundle: one lesson, of known classes and new ones together. */
internal class OnePassTeacher(private val program: Program) : Teacher {
    private val manifest = program.manifest
    private val learner = OnePassProgram(program)

    override fun start(): Knowledge {
        val stored = learner.storedState()
        return Knowledge(stored, manifest.classNames, lessons = 0, Journal(stored, manifest.classNames))
    }

    override fun classify(state: State, images: List<RgbImage>): List<Answer> =
        learner.predict(state, learner.features(state, images))

    override fun teach(before: Knowledge, pictures: Map<String, List<Picture>>, how: Teaching): Learnt {
        require(how.joinedTask == null) { "the bundle has no tasks, its classes are learnt together" }
        val new = newLabels(before, manifest, pictures.keys)
        val names = before.classNames + new
        val labels = pictures.flatMap { (label, few) -> few.map { names.indexOf(label) } }
        val images = LessonImages(pictures.values.flatten(), labels, manifest.preprocessing)
        val schedule = Schedule.of(manifest.settings, how.settings)
        how.progress.total = labels.size
        val learner = OnePassProgram(program.checked(how.check))
        val journal = journalOf(before).run { limited(how.journal ?: limit) }
        val remembered = if (journal.limit > 0) remember(learner, journal) else Remembered.nothing(before.state)
        val start = System.nanoTime()
        val decided = { decision: Decision ->
            val looks = if (decision.adapts) labels.size * (schedule.epochs + 1) else 0
            val seconds = (System.nanoTime() - start) / 1e9 * decision.passes / labels.size
            how.progress.total += looks
            how.decided(Forecast(decision, labels.size, looks, seconds))
        }
        val lesson = OnePassLesson(learner, images, schedule, remembered, how.progress::count, decided)
        val outcome = lesson.learn(before.state, SEED)
        val taught = taught(before, pictures.mapValues { it.value.size }, images, outcome, how.source)
        val after = bounded(learner, journal.followedBy(taught), Folded(outcome.state, names))
        val known = pictures.keys.filter { it in before.classNames }
        return Learnt(
            Knowledge(outcome.state, names, before.lessons + 1, after),
            listOf(Lesson(task = null, new, known, labels.size, outcome.decision)),
        )
    }

    override fun forget(before: Knowledge, label: String): Knowledge =
        correct(before) { forget(it, label, now()) }

    override fun rename(before: Knowledge, label: String, new: String): Knowledge =
        correct(before) { rename(it, label, new, now()) }

    override fun correct(before: Knowledge, change: (Journal) -> Journal): Knowledge {
        val journal = change(journalOf(before))
        val known = fold(learner, journal)
        return Knowledge(known.state, known.classNames, journal.lessons, journal)
    }

    private fun journalOf(known: Knowledge): Journal =
        checkNotNull(known.journal) { "what a one-pass bundle knows has a journal" }

    private companion object {
        const val SEED = 0 // the lesson's number joins it
    }
}

/** What the journal keeps of a lesson of so many pictures of each class. */
private fun taught(
    before: Knowledge,
    counts: Map<String, Int>,
    images: LessonImages,
    outcome: LessonOutcome,
    source: String,
): Taught {
    val (drift, kept) = driftToKeep(before.state, before.classNames, outcome.drift)
    val places = counts.values.flatMapIndexed { place, count -> List(count) { place } }
    return Taught(
        id = hex(ByteArray(ID_BYTES).also(SecureRandom()::nextBytes)),
        time = now(),
        source = source,
        names = counts.keys.toList(),
        counts = counts.values.toList(),
        reason = outcome.decision.reason,
        accuracy = outcome.decision.accuracy,
        left = Left(places, images.keys, HalfRows.of(outcome.x), outcome.adapted, drift, kept),
    )
}

private const val ID_BYTES = 8
