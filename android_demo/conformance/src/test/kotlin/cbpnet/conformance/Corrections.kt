package cbpnet.conformance

import cbpnet.core.JsonObject
import cbpnet.core.LearningSession
import cbpnet.core.TrainingSettings
import cbpnet.core.child
import cbpnet.core.children
import cbpnet.core.get
import cbpnet.core.integer
import cbpnet.core.text
import cbpnet.core.texts
import java.io.File

/** What the Python host corrected after a course's lessons. */
internal class Corrections(private val folder: File, content: JsonObject) {
    private val recorded = content.children("corrections")

    /** Does the same, and compares after each; [before] is told what comes. */
    fun play(session: LearningSession, before: (what: String) -> Unit = {}): List<Distance> =
        recorded.mapIndexed { number, correction ->
            before(correction.text("do"))
            correct(session, correction)
            distance(session, folder, "corrected_$number.safetensors", correction.children("predictions"))
        }

    private fun correct(session: LearningSession, correction: JsonObject) {
        when (val what = correction.text("do")) {
            "undo" -> session.undo()
            "redo" -> session.redo()
            "forget" -> session.forget(correction.text("label"), forGood = "for_good" in correction.entries)
            "rename" -> session.rename(correction.text("label"), correction.text("new"))
            "merge" -> session.merge(correction.text("label"), correction.text("into"))
            "relabel" -> session.relabel(pictures(correction, "images"), correction.text("label"))
            "learn" -> session.learn(
                correction.child("images").run { entries.keys.associateWith { pictures(this, it) } },
                TrainingSettings(correction.integer("epochs"), correction.integer("batch_size")),
                journal = correction.integer("journal").toLong(),
            )
            else -> error("what is $what?")
        }
    }

    private fun pictures(json: JsonObject, key: String) = json.texts(key).map { PictureFile(File(folder, it)) }
}
